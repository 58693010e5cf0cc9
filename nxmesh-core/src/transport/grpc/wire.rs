//! Messages in their protobuf form.

use std::time::Duration;

use chrono::{DateTime, Utc};
use nxmesh_proto::agent::v1::{
    self as proto, agent_message::Payload as FromAgent, command::Command as FromCommand,
    master_message::Payload as FromServer,
};

use super::config::{self, from_version, to_version};
use crate::{
    Clock, Error, ErrorKind, Result, Secret, SystemClock,
    gateway::{
        DeploymentMode,
        link::{
            AgentEvent, AgentMessage, Alert, ApplyStatus, Command, CommandAction, ConfigStatus,
            HealthReport, NginxStatus, Registration, RegistrationAnswer, ServerMessage, Severity,
            SystemMetrics,
        },
    },
};

/// `None` for what this version does not know or take.
pub(super) fn to_agent_message(message: proto::AgentMessage) -> Option<AgentMessage> {
    Some(match message.payload? {
        FromAgent::Registration(it) => AgentMessage::Registration(to_registration(it)),
        FromAgent::Health(it) => AgentMessage::Health(to_health(it)),
        FromAgent::ConfigStatus(it) => AgentMessage::ConfigStatus(to_config_status(it)?),
        FromAgent::Event(it) => AgentMessage::Event(to_event(it)),
        FromAgent::Metrics(_) | FromAgent::Logs(_) => return None,
    })
}

pub(super) fn from_agent_message(message: AgentMessage) -> proto::AgentMessage {
    let payload = match message {
        AgentMessage::Registration(it) => FromAgent::Registration(from_registration(it)),
        AgentMessage::Health(it) => FromAgent::Health(from_health(it)),
        AgentMessage::ConfigStatus(it) => FromAgent::ConfigStatus(from_config_status(it)),
        AgentMessage::Event(it) => FromAgent::Event(from_event(it)),
    };
    // The stream says who speaks.
    proto::AgentMessage { agent_id: String::new(), timestamp: now(), payload: Some(payload) }
}

/// `None` for what this version does not know or take.
pub(super) fn to_server_message(message: proto::MasterMessage) -> Option<Result<ServerMessage>> {
    Some(Ok(match message.payload? {
        FromServer::RegistrationResponse(it) => match to_answer(it) {
            Ok(answer) => ServerMessage::Registered(answer),
            Err(error) => return Some(Err(error)),
        },
        FromServer::ConfigUpdate(it) => config::to_config(it),
        FromServer::Command(it) => ServerMessage::Command(to_command(it)?),
        FromServer::Ack(_) => ServerMessage::Heard,
        FromServer::Error(_) => return None,
    }))
}

pub(super) fn from_server_message(message: &ServerMessage) -> proto::MasterMessage {
    let payload = match message {
        ServerMessage::Registered(it) => FromServer::RegistrationResponse(from_answer(it)),
        ServerMessage::Config(it) => FromServer::ConfigUpdate(config::from_config(it)),
        ServerMessage::Command(it) => FromServer::Command(from_command(it)),
        ServerMessage::Heard => {
            FromServer::Ack(proto::Ack { success: true, ..proto::Ack::default() })
        }
        ServerMessage::Unreadable { .. } => return proto::MasterMessage::default(),
    };
    proto::MasterMessage { timestamp: now(), payload: Some(payload) }
}

fn to_registration(it: proto::RegistrationRequest) -> Registration {
    let deployment_mode = match it.deployment_mode() {
        proto::DeploymentMode::DockerSidecar => DeploymentMode::DockerSidecar,
        proto::DeploymentMode::KubernetesSidecar => DeploymentMode::KubernetesSidecar,
        proto::DeploymentMode::Standalone | proto::DeploymentMode::Unspecified => {
            DeploymentMode::Standalone
        }
    };
    let proto::RegistrationRequest {
        token,
        hostname,
        ip_address,
        version,
        capabilities,
        labels,
        deployment_mode: _,
        config_checksum,
        config_version,
        nginx_version,
    } = it;
    Registration {
        token: Secret::new(token),
        hostname,
        ip_address,
        version,
        capabilities,
        labels,
        deployment_mode,
        config_checksum,
        config_version: to_version(config_version),
        nginx_version,
    }
}

fn from_registration(it: Registration) -> proto::RegistrationRequest {
    let Registration {
        token,
        hostname,
        ip_address,
        version,
        capabilities,
        labels,
        deployment_mode,
        config_checksum,
        config_version,
        nginx_version,
    } = it;
    let deployment_mode = match deployment_mode {
        DeploymentMode::DockerSidecar => proto::DeploymentMode::DockerSidecar,
        DeploymentMode::KubernetesSidecar => proto::DeploymentMode::KubernetesSidecar,
        DeploymentMode::Standalone => proto::DeploymentMode::Standalone,
    };
    proto::RegistrationRequest {
        token: token.expose().clone(),
        hostname,
        ip_address,
        version,
        capabilities,
        labels,
        deployment_mode: deployment_mode.into(),
        config_checksum,
        config_version: from_version(config_version),
        nginx_version,
    }
}

fn to_answer(it: proto::RegistrationResponse) -> Result<RegistrationAnswer> {
    let proto::RegistrationResponse {
        agent_id,
        success,
        error_message,
        heartbeat_interval_seconds,
        credential,
    } = it;
    if !success {
        return Ok(RegistrationAnswer::Refused { reason: error_message });
    }
    let bad =
        |error| Error::new(ErrorKind::Internal, "the server names no agent").with_source(error);
    let seconds = u64::try_from(heartbeat_interval_seconds).unwrap_or(1).max(1);
    Ok(RegistrationAnswer::Accepted {
        agent_id: agent_id.parse().map_err(bad)?,
        heartbeat_interval: Duration::from_secs(seconds),
        credential: Some(credential).filter(|it| !it.is_empty()).map(Secret::new),
    })
}

fn from_answer(it: &RegistrationAnswer) -> proto::RegistrationResponse {
    match it {
        RegistrationAnswer::Accepted { agent_id, heartbeat_interval, credential } => {
            proto::RegistrationResponse {
                agent_id: agent_id.to_string(),
                success: true,
                error_message: String::new(),
                // Whole seconds are all that the wire has: rounded up, as 0 would mean never.
                heartbeat_interval_seconds: i64::try_from(
                    heartbeat_interval.as_millis().div_ceil(1000),
                )
                .unwrap_or(i64::MAX),
                credential: credential.as_ref().map(|it| it.expose().clone()).unwrap_or_default(),
            }
        }
        RegistrationAnswer::Refused { reason } => proto::RegistrationResponse {
            success: false,
            error_message: reason.clone(),
            ..proto::RegistrationResponse::default()
        },
    }
}

pub(super) fn to_health(it: proto::HealthReport) -> HealthReport {
    let proto::HealthReport {
        nginx,
        system,
        config_checksum,
        config_version,
        alerts,
        requests,
        responses_5xx,
    } = it;
    let proto::NginxStatus {
        is_running,
        pid,
        uptime_seconds,
        active_connections,
        total_requests,
        requests_per_second,
    } = nginx.unwrap_or_default();
    let proto::SystemMetrics {
        cpu_percent,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        load_average_1m,
    } = system.unwrap_or_default();
    HealthReport {
        nginx: NginxStatus {
            is_running,
            pid,
            uptime_seconds,
            active_connections,
            total_requests,
            requests_per_second,
        },
        system: SystemMetrics {
            cpu_percent,
            memory_used_bytes,
            memory_total_bytes,
            disk_used_bytes,
            disk_total_bytes,
            load_average_1m,
        },
        config_checksum,
        config_version: to_version(config_version),
        alerts: alerts.into_iter().map(to_alert).collect(),
        requests,
        responses_5xx,
    }
}

fn to_alert(it: proto::Alert) -> Alert {
    let proto::Alert { id, severity, message, timestamp, metric, value } = it;
    let severity = match severity.as_str() {
        "info" => Severity::Info,
        "error" => Severity::Error,
        "critical" => Severity::Critical,
        // Whatever a newer agent calls it, somebody should look.
        _ => Severity::Warning,
    };
    let metric = Some(metric).filter(|it| !it.is_empty());
    Alert { id, severity, message, metric, value, timestamp: to_time(timestamp) }
}

fn from_alert(it: Alert) -> proto::Alert {
    let Alert { id, severity, message, metric, value, timestamp } = it;
    let severity = match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    };
    proto::Alert {
        id,
        severity: severity.to_owned(),
        message,
        timestamp: timestamp.timestamp(),
        metric: metric.unwrap_or_default(),
        value,
    }
}

fn from_health(it: HealthReport) -> proto::HealthReport {
    let HealthReport {
        nginx,
        system,
        config_checksum,
        config_version,
        alerts,
        requests,
        responses_5xx,
    } = it;
    let NginxStatus {
        is_running,
        pid,
        uptime_seconds,
        active_connections,
        total_requests,
        requests_per_second,
    } = nginx;
    let SystemMetrics {
        cpu_percent,
        memory_used_bytes,
        memory_total_bytes,
        disk_used_bytes,
        disk_total_bytes,
        load_average_1m,
    } = system;
    proto::HealthReport {
        nginx: Some(proto::NginxStatus {
            is_running,
            pid,
            uptime_seconds,
            active_connections,
            total_requests,
            requests_per_second,
        }),
        system: Some(proto::SystemMetrics {
            cpu_percent,
            memory_used_bytes,
            memory_total_bytes,
            disk_used_bytes,
            disk_total_bytes,
            load_average_1m,
        }),
        config_checksum,
        config_version: from_version(config_version),
        alerts: alerts.into_iter().map(from_alert).collect(),
        requests,
        responses_5xx,
    }
}

fn to_config_status(it: proto::ConfigStatus) -> Option<ConfigStatus> {
    let status = match it.status() {
        proto::ConfigApplyStatus::Unspecified => return None,
        proto::ConfigApplyStatus::Pending => ApplyStatus::Pending,
        proto::ConfigApplyStatus::Validating => ApplyStatus::Validating,
        proto::ConfigApplyStatus::Applying => ApplyStatus::Applying,
        proto::ConfigApplyStatus::Success => ApplyStatus::Success,
        proto::ConfigApplyStatus::Failed => ApplyStatus::Failed,
        proto::ConfigApplyStatus::RolledBack => ApplyStatus::RolledBack,
    };
    let proto::ConfigStatus { config_id, version, status: _, error_message, applied_at } = it;
    let applied_at = to_time(applied_at);
    Some(ConfigStatus {
        config_id,
        version: to_version(version),
        status,
        error_message,
        applied_at,
    })
}

fn from_config_status(it: ConfigStatus) -> proto::ConfigStatus {
    let ConfigStatus { config_id, version, status, error_message, applied_at } = it;
    let status = match status {
        ApplyStatus::Pending => proto::ConfigApplyStatus::Pending,
        ApplyStatus::Validating => proto::ConfigApplyStatus::Validating,
        ApplyStatus::Applying => proto::ConfigApplyStatus::Applying,
        ApplyStatus::Success => proto::ConfigApplyStatus::Success,
        ApplyStatus::Failed => proto::ConfigApplyStatus::Failed,
        ApplyStatus::RolledBack => proto::ConfigApplyStatus::RolledBack,
    };
    proto::ConfigStatus {
        config_id,
        version: from_version(version),
        status: status.into(),
        error_message,
        applied_at: applied_at.timestamp(),
    }
}

fn to_event(it: proto::Event) -> AgentEvent {
    let proto::Event { event_id, event_type, timestamp, data } = it;
    AgentEvent { event_id, event_type, timestamp: to_time(timestamp), data }
}

fn from_event(it: AgentEvent) -> proto::Event {
    let AgentEvent { event_id, event_type, timestamp, data } = it;
    proto::Event { event_id, event_type, timestamp: timestamp.timestamp(), data }
}

fn to_command(it: proto::Command) -> Option<Command> {
    let proto::Command { command_id, command } = it;
    let action = match command? {
        FromCommand::Reload(it) => CommandAction::Reload { graceful: it.graceful },
        FromCommand::Restart(it) => CommandAction::Restart { force: it.force },
        FromCommand::Stop(it) => {
            let timeout = Duration::from_secs(it.timeout_seconds.into());
            CommandAction::Stop { graceful: it.graceful, timeout }
        }
        FromCommand::GetStatus(proto::GetStatusCommand {}) => CommandAction::GetStatus,
        FromCommand::ValidateConfig(it) => {
            CommandAction::ValidateConfig { config_content: it.config_content }
        }
    };
    Some(Command { command_id, action })
}

fn from_command(it: &Command) -> proto::Command {
    let command = match &it.action {
        CommandAction::Reload { graceful } => {
            FromCommand::Reload(proto::ReloadCommand { graceful: *graceful })
        }
        CommandAction::Restart { force } => {
            FromCommand::Restart(proto::RestartCommand { force: *force })
        }
        CommandAction::Stop { graceful, timeout } => FromCommand::Stop(proto::StopCommand {
            graceful: *graceful,
            timeout_seconds: u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX),
        }),
        CommandAction::GetStatus => FromCommand::GetStatus(proto::GetStatusCommand {}),
        CommandAction::ValidateConfig { config_content } => {
            FromCommand::ValidateConfig(proto::ValidateConfigCommand {
                config_content: config_content.clone(),
            })
        }
    };
    proto::Command { command_id: it.command_id.clone(), command: Some(command) }
}

/// When a message is sent, in seconds since 1970: for those who look at the wire.
fn now() -> i64 {
    SystemClock.now().timestamp()
}

fn to_time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH)
}
