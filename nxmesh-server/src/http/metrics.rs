//! What the server counts about itself, as Prometheus reads it.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use http::{Method, StatusCode, header};
use nxmesh_core::{Clock, Distribution, Figures, Mesh, SystemClock};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
        text::{encode, encode_registry},
    },
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::{Family, MetricConstructor},
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

/// How long a request took, in seconds.
const BOUNDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// The figures of one router: two in one process do not mix theirs.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    registry: Registry,
    requests: Family<Answered, Histogram, NewHistogram>,
    in_flight: Gauge,
    refused: Refused,
    more: Vec<Arc<dyn MoreFigures>>,
}

/// Requests that were refused because there were too many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused {
    pub(crate) requests: Counter,
    pub(crate) logins: Counter,
}

/// A request by what there are few of: never its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) struct NewHistogram;

impl MetricConstructor<Histogram> for NewHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BOUNDS)
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(more: Vec<Arc<dyn MoreFigures>>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::new_with_constructor(NewHistogram);
        let (in_flight, refused) = (Gauge::default(), Refused::default());
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(SystemClock.now().timestamp_millis() as f64 / 1000.0);
        registry.register(
            "nxmesh_build",
            "The version of the server",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_with_unit(
            "process_start_time",
            "When the server began to serve, since 1970",
            Unit::Seconds,
            started,
        );
        registry.register_with_unit(
            "nxmesh_http_request_duration",
            "How long requests took until they were answered",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register(
            "nxmesh_http_requests_in_flight",
            "Requests that are not answered yet",
            in_flight.clone(),
        );
        let limited = registry.sub_registry_with_prefix("nxmesh_http_refused_by_limit");
        for (name, what, counter) in [
            ("requests", "Requests beyond --requests-per-minute", &refused.requests),
            ("logins", "Logins beyond --logins-per-minute", &refused.logins),
        ] {
            limited.register(name, what, counter.clone());
        }
        Self(Arc::new(Kept { registry, requests, in_flight, refused, more }))
    }

    pub(crate) fn refused(&self) -> Refused {
        self.0.refused.clone()
    }

    /// A request came; it is under way until the answer to this is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// A request was answered.
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let (method, status) = (method_of(method), class_of(status));
        let answered = Answered { method, route: route.to_owned(), status };
        self.0.requests.get_or_create(&answered).observe(took.as_secs_f64());
    }
}

/// All figures, as OpenMetrics text.
pub(crate) struct MetricsText(String);

/// Figures of something that is served beside the control plane, for the same `GET /metrics`.
pub trait MoreFigures: fmt::Debug + Send + Sync + 'static {
    /// OpenMetrics text, without the `# EOF` at its end.
    fn text(&self) -> BoxFuture<'_, String>;
}

/// All figures, those of the control plane included.
pub(super) async fn show(
    State(mesh): State<Mesh>,
    Extension(metrics): Extension<Metrics>,
) -> MetricsText {
    let mut core = Registry::default();
    core.register_collector(Box::new(Core(mesh.figures().await)));
    let mut text = String::new();
    // A string takes whatever is written to it.
    let _ = encode_registry(&mut text, &metrics.0.registry);
    for figures in &metrics.0.more {
        text.push_str(&figures.text().await);
    }
    let _ = encode(&mut text, &core);
    MetricsText(text)
}

impl IntoResponse for MetricsText {
    fn into_response(self) -> Response {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], self.0).into_response()
    }
}

/// There are few methods, and callers can make up more.
fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(crate) fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// The figures of the control plane.
#[derive(Debug)]
struct Core(Figures);

impl Collector for Core {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { agents, commits, events, store_calls, .. } = &self.0;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        if let Some((registered, pending)) = agents.registered.zip(agents.pending) {
            gauge("nxmesh_agents_registered", "Agents that the store has", registered)?;
            gauge("nxmesh_agents_pending", "Agents that never connected", pending)?;
        }
        let behind = "Agents connected here that are not proven to serve what they should";
        gauge("nxmesh_agents_behind", behind, agents.behind)?;
        gauge("nxmesh_events_watching", "Callers that watch events here", events.watching)?;
        let furthest = "Revisions between what the last of them serves and what it should";
        gauge("nxmesh_agents_behind_revisions_max", furthest, agents.furthest_behind)?;
        let longest = "For how many seconds the one that has been behind the longest is";
        gauge("nxmesh_agents_behind_seconds_max", longest, agents.longest_behind_seconds)?;
        let held = "Agents connected here that hold a part back because their nginx refuses it";
        gauge("nxmesh_agents_holding_back", held, agents.holding_back)?;
        let drifted = "Agents connected here on whose host somebody else changed something";
        gauge("nxmesh_agents_drifted", drifted, agents.drifted)?;
        let unhealthy = "Servers of upstreams that fail the checks of agents connected here";
        gauge("nxmesh_upstream_servers_unhealthy", unhealthy, agents.unhealthy_servers)?;

        let help = "Agents connected to this server";
        let mut metric =
            encoder.encode_descriptor("nxmesh_agents_connected", help, None, MetricType::Gauge)?;
        for (state, count) in [("online", agents.online), ("degraded", agents.degraded)] {
            ConstGauge::new(count).encode(metric.encode_family(&[("state", state)])?)?;
        }

        let help = "Changes of a workspace that were committed together";
        let kind = MetricType::Histogram;
        histogram(encoder.encode_descriptor("nxmesh_commit_changes", help, None, kind)?, commits)?;

        let (name, help) = ("nxmesh_event_lag", "How old events were when they could be watched");
        let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        histogram(metric, &events.lag)?;

        let (name, help) = ("nxmesh_store_call_duration", "How long calls of the store took");
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        for calls in store_calls {
            histogram(metric.encode_family(&[("operation", calls.operation)])?, &calls.seconds)?;
        }
        let (name, help) = ("nxmesh_store_call_failures", "Calls that found the store away");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for calls in store_calls {
            let counter = ConstCounter::new(calls.failed);
            counter.encode(metric.encode_family(&[("operation", calls.operation)])?)?;
        }
        Ok(())
    }
}

pub(crate) fn histogram(mut encoder: MetricEncoder<'_>, shown: &Distribution) -> fmt::Result {
    encoder.encode_histogram::<NoLabelSet>(shown.sum, shown.count, &shown.buckets, None)
}
