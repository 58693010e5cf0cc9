//! What has texts in it: bodies with every field set, where they are sent, and how what came
//! of them is looked at and undone.

use nxmesh_core::{
    Clock, SystemClock,
    tenancy::{NewOrganization, WorkspaceId},
};
use nxmesh_server::HttpSettings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{judge::Files, walk::Place};
use crate::given::{Answer, Given, server_with};

/// A server with an agent, and what bodies need to name.
pub(super) struct World {
    pub(super) server: Given,
    workspace: WorkspaceId,
    organization: String,
    agent: String,
    upstream: String,
    host: String,
    /// The revision that is gone back to.
    base: u64,
    /// Where delivery is staged, and an agent there.
    staged: Staged,
}

#[derive(Default)]
struct Staged {
    workspace: String,
    agent: String,
    revision: u64,
}

/// What is sent where.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    /// Bodies that are accepted, and have all fields between them.
    pub(super) bodies: Vec<Value>,
    /// Bodies that are refused for one field, which is refused whatever it says.
    pub(super) refused: Vec<(Value, &'static str)>,
    /// Fields that no answer shows, by their shape.
    pub(super) unseen: &'static [&'static str],
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    VirtualHost,
    Upstream,
    Workspace,
    Organization,
    Agent,
    NewAgent,
    Changes,
    ApiKey,
    Member,
    Rollout,
}

/// What came of a body that was accepted.
pub(super) struct Seen {
    /// What is kept, in the form of the body.
    pub(super) kept: Value,
    /// What an agent should run for it, if agents see anything of it.
    pub(super) files: Option<Files>,
}

impl World {
    pub(super) async fn new() -> Self {
        let mut settings = HttpSettings::default();
        (settings.requests_per_minute, settings.logins_per_minute) = (None, None);
        let server = server_with(settings).await;
        let workspace = server.workspace().await;
        let mut world = Self {
            organization: workspace.organization_id.to_string(),
            workspace: workspace.id,
            agent: String::new(),
            upstream: String::new(),
            host: String::new(),
            base: 0,
            staged: Staged::default(),
            server,
        };
        let token = json!({"name": "agent", "labels": {"env": "prod"}});
        let path = format!("/v1/workspaces/{}/agents/tokens", workspace.id);
        world.agent = world.made(&path, token).await["agent_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/workspaces/{}/upstreams", workspace.id);
        world.upstream = id(&world.made(&path, upstream()).await);
        let path = format!("/v1/workspaces/{}/virtual-hosts", workspace.id);
        let host = json!({
            "name": "base", "server_name": "base.example", "listen_port": 80,
            "locations": [{"path": "/", "upstream_id": world.upstream}],
        });
        let host = world.made(&path, host).await;
        world.host = id(&host);
        world.base = world.newest().await;
        world.staged = world.staged().await;
        world
    }

    async fn staged(&self) -> Staged {
        let path = format!("/v1/organizations/{}/workspaces", self.organization);
        let workspace =
            json!({"name": "Staged", "slug": "staged", "settings": {"delivery": "staged"}});
        let workspace = id(&self.made(&path, workspace).await);
        let path = format!("/v1/workspaces/{workspace}/agents/tokens");
        let agent = self.made(&path, json!({"name": "staged"})).await;
        let path = format!("/v1/workspaces/{workspace}/virtual-hosts");
        let host = json!({
            "name": "staged", "server_name": "staged.example", "listen_port": 80,
            "locations": [{"path": "/", "root": "/srv"}],
        });
        let revision = self.made(&path, host).await["revision"].as_u64().unwrap();
        Staged { workspace, agent: agent["agent_id"].as_str().unwrap().to_owned(), revision }
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.server.send(Method::POST, path, Some(body)).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        answer.body
    }

    async fn shown(&self, path: &str) -> Value {
        let answer = self.server.send(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    async fn gone(&self, path: &str) {
        let answer = self.server.send(Method::DELETE, path, None).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
    }

    async fn newest(&self) -> u64 {
        let path = format!("/v1/workspaces/{}/revisions", self.workspace);
        let revisions = self.shown(&path).await;
        let numbers = revisions["data"].as_array().unwrap().iter();
        numbers.map(|it| it["number"].as_u64().unwrap()).max().unwrap()
    }

    async fn restore(&self) {
        let path = format!("/v1/workspaces/{}/revisions/{}/restore", self.workspace, self.base);
        let answer = self.server.send(Method::POST, &path, None).await;
        assert!(answer.status.is_success(), "{}", answer.body);
    }

    async fn files(&self, agent: &str) -> Files {
        let config = self.shown(&format!("/v1/agents/{agent}/config")).await;
        serde_json::from_value(config["files"].clone()).unwrap()
    }

    /// Everything that has texts in it.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let in_workspace = |rest: &str| format!("/v1/workspaces/{}/{rest}", self.workspace);
        let in_organization =
            |rest: &str| format!("/v1/organizations/{}/{rest}", self.organization);
        let subject = |name, path, kind, bodies| Subject {
            name,
            method: Method::POST,
            path,
            bodies,
            refused: Vec::new(),
            unseen: &[],
            kind,
        };
        let hosts = [
            json!({"type": "all"}),
            json!({"type": "selector", "label_selector": "env in (prod),!old"}),
            json!({"type": "agents", "agent_ids": [self.agent]}),
        ];
        let hosts = hosts.map(|target| host(&self.upstream, &target)).to_vec();
        let tomorrow = SystemClock.now() + chrono::TimeDelta::days(1);
        let until = tomorrow.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = json!({
            "name": "agent", "labels": {"env": "prod", "a.example/zone": "b"},
            "drift": {"policy": "adopt", "until": until},
        });
        let token =
            json!({"name": "new", "labels": {"a.example/zone": "b"}, "expires_in_hours": 1});
        let key = json!({
            "organization_id": self.organization, "name": "ci", "role": "viewer",
            "expires_at": "2199-01-01T00:00:00Z",
        });
        let member = json!({"email": "stranger@example.com", "role": "viewer"});
        let tls = json!({
            "name": "tls", "server_name": "tls.example", "listen_port": 443, "ssl_enabled": true,
            "ssl_certificate_id": self.host, "locations": [{"path": "/", "root": "/srv"}],
        });
        vec![
            Subject {
                refused: vec![(tls, "ssl_certificate_id")],
                ..subject("virtual host", in_workspace("virtual-hosts"), Kind::VirtualHost, hosts)
            },
            Subject {
                method: Method::PATCH,
                ..subject(
                    "upstream",
                    format!("/v1/upstreams/{}", self.upstream),
                    Kind::Upstream,
                    vec![upstream()],
                )
            },
            subject("workspace", in_organization("workspaces"), Kind::Workspace, vec![workspace()]),
            subject(
                "organization",
                "/v1/organizations".into(),
                Kind::Organization,
                vec![json!({"name": "Other", "slug": "other"})],
            ),
            Subject {
                method: Method::PATCH,
                ..subject("agent", format!("/v1/agents/{}", self.agent), Kind::Agent, vec![patch])
            },
            Subject {
                unseen: &[".expires_in_hours"],
                ..subject("token", in_workspace("agents/tokens"), Kind::NewAgent, vec![token])
            },
            Subject {
                unseen: &[
                    ".changes[].action",
                    ".changes[].type",
                    ".changes[].ref",
                    ".changes[].id",
                    ".changes[].if_match",
                    ".changes[].body.locations[].upstream_id",
                ],
                ..subject(
                    "change set",
                    in_workspace("changes"),
                    Kind::Changes,
                    vec![self.changes()],
                )
            },
            subject("API key", "/v1/api-keys".into(), Kind::ApiKey, vec![key]),
            subject("member", in_organization("members"), Kind::Member, vec![member]),
            subject(
                "rollout",
                format!("/v1/workspaces/{}/rollouts", self.staged.workspace),
                Kind::Rollout,
                vec![self.rollout()],
            ),
        ]
    }

    fn rollout(&self) -> Value {
        json!({
            "revision": self.staged.revision, "message": "new cache settings",
            "waves": [
                {"selector": "tier in (canary),!old", "soak_seconds": 600},
                {"agent_ids": [self.staged.agent], "soak_seconds": 60},
                {"percent": 25, "soak_seconds": 1800},
            ],
            "gates": {
                "max_failed_applies": 1, "max_5xx_percent": 2.5, "min_requests": 20,
                "deadline_seconds": 300,
            },
        })
    }

    fn changes(&self) -> Value {
        let new = json!({
            "name": "new", "server_name": "new.example", "listen_port": 80,
            "locations": [{"path": "/", "upstream_id": "ref:shop"}],
        });
        let shop = json!({"name": "shop", "servers": [{"address": "10.0.1.10:8080"}]});
        let patch = json!({
            "name": "patched", "custom_directives": {"client_max_body_size": "1m"},
            "locations": [{"path": "/patched", "root": "/srv/patched"}],
        });
        json!({"message": "all at once", "changes": [
            {"action": "create", "type": "upstream", "ref": "shop", "body": shop},
            {"action": "create", "type": "virtual_host", "body": new},
            {"action": "update", "type": "virtual_host", "id": self.host, "if_match": "*", "body": patch},
        ]})
    }
}

impl Subject {
    /// Looks at what an accepted body made, and takes it back.
    pub(super) async fn look(&self, world: &World, answer: &Answer) -> Seen {
        let made = &answer.body;
        let (kept, files) = match self.kind {
            Kind::VirtualHost => {
                let path = format!("/v1/virtual-hosts/{}", id(made));
                let seen = (world.shown(&path).await, Some(world.files(&world.agent).await));
                world.gone(&path).await;
                seen
            }
            Kind::Upstream => {
                let seen = (world.shown(&self.path).await, Some(world.files(&world.agent).await));
                world.restore().await;
                seen
            }
            Kind::Workspace => {
                let path = format!("/v1/workspaces/{}", id(made));
                let agent =
                    world.made(&format!("{path}/agents/tokens"), json!({"name": "a"})).await;
                let agent = agent["agent_id"].as_str().unwrap();
                let files = world.files(agent).await;
                let kept = world.shown(&path).await;
                world.gone(&format!("/v1/agents/{agent}")).await;
                world.gone(&path).await;
                (kept, Some(files))
            }
            Kind::Organization => {
                let path = format!("/v1/organizations/{}", id(made));
                let kept = world.shown(&path).await;
                world.gone(&path).await;
                (kept, None)
            }
            Kind::Agent => {
                let kept = world.shown(&self.path).await;
                let files = world.files(&world.agent).await;
                let back = Some(json!({"name": "agent", "labels": {"env": "prod"}, "drift": null}));
                world.server.send(Method::PATCH, &self.path, back).await;
                (kept, Some(files))
            }
            Kind::NewAgent => {
                let path = format!("/v1/agents/{}", made["agent_id"].as_str().unwrap());
                let kept = world.shown(&path).await;
                world.gone(&path).await;
                (kept, None)
            }
            Kind::Changes => {
                let mut changes = Vec::new();
                for change in made["changes"].as_array().unwrap() {
                    let kind = change["type"].as_str().unwrap().replace('_', "-");
                    let path = format!("/v1/{kind}s/{}", id(change));
                    changes.push(json!({"body": world.shown(&path).await}));
                }
                let files = world.files(&world.agent).await;
                world.restore().await;
                (json!({"message": made["revision"]["reason"], "changes": changes}), Some(files))
            }
            Kind::ApiKey => {
                let path = format!("/v1/api-keys?organization_id={}", world.organization);
                let keys = world.shown(&path).await;
                let key = keys["data"].as_array().unwrap().iter().find(|it| id(it) == id(made));
                let kept = key.unwrap().clone();
                world.gone(&format!("/v1/api-keys/{}", id(made))).await;
                (kept, None)
            }
            Kind::Member => {
                world.gone(&format!("{}/{}", self.path, made["user_id"].as_str().unwrap())).await;
                (made.clone(), None)
            }
            Kind::Rollout => {
                let path = format!("/v1/rollouts/{}", id(made));
                let kept = world.shown(&path).await;
                let over = world.server.send(Method::POST, &format!("{path}/abort"), None).await;
                // Nobody holds up one that does not soak: it may be completed by now.
                assert!([200, 409].contains(&over.status.as_u16()), "{}", over.body);
                // What is in it is nothing that nginx reads.
                (as_sent(kept), None)
            }
        };
        Seen { kept, files }
    }

    /// Whether something else than the place itself may be named as wrong: a reference that
    /// names nothing is wrong at both ends, and so is a part that another one goes with.
    pub(super) fn shares_blame(&self, place: &Place, field: &str) -> bool {
        let parent = place.parent().field();
        match place.name() {
            "ref" => field.ends_with(".upstream_id"),
            "type" => field.starts_with(&format!("{parent}.")),
            _ => false,
        }
    }
}

/// A rollout in the form of the body that it was made of.
fn as_sent(mut rollout: Value) -> Value {
    let waves = rollout["waves"].as_array_mut().unwrap();
    assert_eq!(waves.pop().unwrap()["which"], "rest");
    for wave in waves {
        let which = wave["which"].take();
        wave.as_object_mut().unwrap().extend(which.as_object().unwrap().clone());
    }
    rollout
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

fn upstream() -> Value {
    json!({
        "name": "shop", "algorithm": "weighted_round_robin",
        "servers": [
            {"address": "10.0.1.10:8080", "weight": 2, "backup": false, "down": false, "max_fails": 3, "fail_timeout": 30},
            {"address": "[2001:db8::1]:8080", "backup": true},
        ],
        "health_check": {
            "enabled": true, "path": "/health", "interval": 10, "timeout": 5,
            "healthy_threshold": 2, "unhealthy_threshold": 3,
        },
        "keepalive_connections": 16,
    })
}

fn host(upstream: &str, target: &Value) -> Value {
    json!({
        "name": "shop", "server_name": "shop.example *.shop.example", "listen_port": 8080,
        "ssl_enabled": false, "ssl_certificate_id": null, "http2_enabled": true,
        "http3_enabled": false,
        "custom_directives": {"client_max_body_size": "10m", "error_page": "404 /404.html"},
        "target_agents": target,
        "locations": [
            {
                "path": "/proxy", "proxy_pass": "http://10.0.0.9:81/base",
                "custom_headers": [
                    {"name": "X-Frame-Options", "value": "DENY", "always": true},
                    {"name": "X-Forwarded-Shop", "value": "$host"},
                ],
                "rewrite_rules": [{"pattern": "^/old/(.*)$", "replacement": "/new/$1", "flag": "last"}],
                "custom_directives": {"proxy_read_timeout": "60s", "proxy_hide_header": "X-Powered-By"},
            },
            {"path": "/upstream", "upstream_id": upstream},
            {"path": "/files", "root": "/srv/www", "index": "index.html index.htm"},
        ],
    })
}

fn workspace() -> Value {
    json!({
        "name": "Other", "slug": "other",
        "settings": {
            "nginx_directives": {"gzip_types": "text/css text/plain", "charset": "utf-8"},
            "env_vars": {"TZ": "UTC", "GREETING": "hello"},
            "on_refusal": "strict", "delivery": "immediate",
        },
    })
}

#[tokio::test]
async fn what_is_made_for_the_fuzz_is_taken_back() {
    let world = World::new().await;
    let before = world.files(&world.agent).await;
    for subject in world.subjects() {
        for body in &subject.bodies {
            let sent = Some(body.clone());
            let answer = world.server.send(subject.method.clone(), &subject.path, sent).await;
            assert!(answer.status.is_success(), "{}: {}", subject.name, answer.body);
            subject.look(&world, &answer).await;
        }
    }
    assert_eq!(
        world.files(&world.agent).await.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    let organizations = world.server.client.organizations();
    let new = NewOrganization { name: "Other".into(), slug: "other".into() };
    organizations.create(&new).await.unwrap();
}
