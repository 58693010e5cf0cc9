//! What is done to objects, read from what callers write.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::new::REF;
use crate::{
    Error, FieldCode, Id, IfMatch, Malformed, MergePatch, Path, Problems, Result,
    gateway::{
        ChangeAction, NewChange, NewChangeSet, NewUpstream, NewVirtualHost, ServedKind, UpstreamId,
        UpstreamSpec, VirtualHostId, virtual_host::virtual_hosts::HostContent,
    },
    text::check_label,
};

/// How long the name of an upstream within a set may be.
const MAX_REF: usize = NewChange::MAX_REF;

/// What is done to one object, checked as far as it can be without looking at anything else.
#[derive(Debug)]
pub(in crate::gateway) enum Edit<T> {
    /// This is made.
    Create(T),
    /// What the patch names is changed.
    Update(MergePatch, IfMatch),
    /// It is removed.
    Delete(IfMatch),
}

impl<T> Edit<T> {
    /// For the reason of a revision.
    pub(in crate::gateway) const fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(..) => "update",
            Self::Delete(_) => "delete",
        }
    }

    /// Whether nothing is left of the object.
    pub(in crate::gateway) const fn removes(&self) -> bool {
        matches!(self, Self::Delete(_))
    }
}

/// Changes that are valid as far as that can be said without looking at anything else.
#[derive(Debug)]
pub(in crate::gateway) struct ChangeSet {
    pub(in crate::gateway) message: String,
    pub(in crate::gateway) changes: Vec<Change>,
}

/// One of them.
#[derive(Debug)]
pub(in crate::gateway) struct Change {
    pub(in crate::gateway) action: ChangeAction,
    pub(in crate::gateway) reference: Option<String>,
    pub(in crate::gateway) edit: ServedEdit,
    /// The fields that its body names.
    pub(in crate::gateway) names: Vec<String>,
}

/// What is done, to which object.
#[derive(Debug)]
pub(in crate::gateway) enum ServedEdit {
    VirtualHost(VirtualHostId, Edit<HostContent>),
    Upstream(UpstreamId, Edit<Arc<UpstreamSpec>>),
}

impl ServedEdit {
    pub(in crate::gateway) const fn id(&self) -> &Uuid {
        match self {
            Self::VirtualHost(id, _) => id.as_uuid(),
            Self::Upstream(id, _) => id.as_uuid(),
        }
    }
}

impl NewChangeSet {
    /// Checks all that can be checked without looking at anything else. What is created gets
    /// its id from `new_id`, in the order of the set.
    pub(in crate::gateway) fn parse(self, mut new_id: impl FnMut() -> Uuid) -> Result<ChangeSet> {
        let Self { message, changes } = self;
        let root = Path::root();
        let mut problems = Problems::default();
        problems.take(&root.field("message"), check_label(&message, Self::MAX_MESSAGE));
        let at = root.field("changes");
        if !(1..=Self::MAX_CHANGES).contains(&changes.len()) {
            problems.add(&at, FieldCode::OutOfRange, format!("must be 1 to {}", Self::MAX_CHANGES));
            return Err(Error::invalid(problems.into_fields()));
        }
        // Ids sort by age: a list shows what was created in the order of the set.
        let mut ids: Vec<_> = changes.iter().map(|_| new_id()).collect();
        ids.sort_unstable();
        let mut reader = Reader { refs: refs(&changes, &ids, &at, &mut problems), problems };
        let mut seen = BTreeMap::new();
        let mut parsed = Vec::with_capacity(changes.len());
        for (index, (change, id)) in changes.into_iter().zip(ids).enumerate() {
            let at = at.index(index);
            let Some(change) = reader.change(change, id, &at) else { continue };
            if let Some(first) = seen.insert(*change.edit.id(), index) {
                let message = format!("is the object of changes[{first}] too");
                reader.problems.add(&at.field("id"), FieldCode::Duplicate, message);
            }
            parsed.push(change);
        }
        reader.problems.finish(ChangeSet { message, changes: parsed })
    }
}

/// What the upstreams that are created are called within the set.
fn refs(
    changes: &[NewChange],
    ids: &[Uuid],
    at: &Path<'_>,
    problems: &mut Problems,
) -> HashMap<String, UpstreamId> {
    let mut refs = HashMap::new();
    for (index, (change, id)) in changes.iter().zip(ids).enumerate() {
        let at = at.index(index);
        let at = at.field("ref");
        let Some(name) = &change.reference else { continue };
        if (change.action, change.kind) != (ChangeAction::Create, ServedKind::Upstream) {
            let message = "goes with the creation of an upstream only";
            problems.add(&at, FieldCode::Contradiction, message);
        } else if problems.take(&at, check_ref(name)).is_some()
            && refs.insert(name.clone(), UpstreamId::from_uuid(*id)).is_some()
        {
            problems.add(&at, FieldCode::Duplicate, "is the name of another upstream of the set");
        }
    }
    refs
}

fn check_ref(name: &str) -> Result<(), Malformed> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_REF).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Malformed::format(format!("must be 1 to {MAX_REF} letters, digits, '.', '_', '-'")))
}

struct Reader {
    refs: HashMap<String, UpstreamId>,
    problems: Problems,
}

impl Reader {
    fn change(&mut self, new: NewChange, new_id: Uuid, at: &Path<'_>) -> Option<Change> {
        let NewChange { action, kind, reference, id, if_match, mut body } = new;
        let creates = action == ChangeAction::Create;
        let id = match (creates, id) {
            (true, None) => Some(new_id),
            (false, Some(id)) => self.id(&id, kind, &at.field("id")),
            (true, Some(_)) => self.stray(&at.field("id"), "goes with update and delete only"),
            (false, None) => self.missing(&at.field("id")),
        };
        let if_match = match if_match {
            None => Some(IfMatch::Any),
            Some(_) if creates => {
                self.stray(&at.field("if_match"), "goes with update and delete only")
            }
            Some(text) => self.condition(&text, &at.field("if_match")),
        };
        if let (Some(body), ServedKind::VirtualHost) = (&mut body, kind) {
            self.resolve(body, &at.field("body"));
        }
        let names = body.iter().flat_map(MergePatch::fields).map(str::to_owned).collect();
        let body = match (action, body) {
            (ChangeAction::Delete, None) => Some(MergePatch::default()),
            (ChangeAction::Delete, Some(_)) => {
                self.stray(&at.field("body"), "goes with create and update only")
            }
            (ChangeAction::Create | ChangeAction::Update, Some(body)) => Some(body),
            (ChangeAction::Create | ChangeAction::Update, None) => self.missing(&at.field("body")),
        };
        let edit = match kind {
            ServedKind::VirtualHost => {
                let parse = |new: NewVirtualHost| new.parse().map(HostContent::from);
                let edit = self.edit(action, if_match, body, &at.field("body"), parse);
                ServedEdit::VirtualHost(Id::from_uuid(id?), edit?)
            }
            ServedKind::Upstream => {
                let parse = |new: NewUpstream| new.parse().map(Arc::new);
                let edit = self.edit(action, if_match, body, &at.field("body"), parse);
                ServedEdit::Upstream(Id::from_uuid(id?), edit?)
            }
        };
        Some(Change { action, reference, edit, names })
    }

    fn edit<New: for<'de> Deserialize<'de> + Serialize, T>(
        &mut self,
        action: ChangeAction,
        if_match: Option<IfMatch>,
        body: Option<MergePatch>,
        at: &Path<'_>,
        parse: impl FnOnce(New) -> Result<T>,
    ) -> Option<Edit<T>> {
        Some(match action {
            ChangeAction::Create => match body?.into_whole().and_then(parse) {
                Ok(content) => Edit::Create(content),
                Err(error) => {
                    self.problems.absorb(at, &error);
                    return None;
                }
            },
            ChangeAction::Update => Edit::Update(body?, if_match?),
            ChangeAction::Delete => Edit::Delete(if_match?),
        })
    }

    fn id(&mut self, text: &str, kind: ServedKind, at: &Path<'_>) -> Option<Uuid> {
        let id = text.parse().ok();
        if id.is_none() {
            let message = match kind {
                ServedKind::VirtualHost => "must be the id of a virtual host",
                ServedKind::Upstream => "must be the id of an upstream",
            };
            self.problems.add(at, FieldCode::InvalidFormat, message);
        }
        id
    }

    fn condition(&mut self, text: &str, at: &Path<'_>) -> Option<IfMatch> {
        let condition = IfMatch::parse(text);
        if condition.is_void() {
            let message =
                "must be an entity tag in quotes, as the header ETag has it: \"\\\"7\\\"\"";
            self.problems.add(at, FieldCode::InvalidFormat, message);
            return None;
        }
        Some(condition)
    }

    /// Puts ids where upstreams of the set are named.
    fn resolve(&mut self, body: &mut MergePatch, at: &Path<'_>) {
        let at = at.field("locations");
        let Some(Value::Array(locations)) = body.field_mut("locations") else { return };
        for (index, location) in locations.iter_mut().enumerate() {
            let Some(Value::String(text)) = location.get_mut("upstream_id") else { continue };
            let Some(name) = text.strip_prefix(REF) else { continue };
            match self.refs.get(name) {
                Some(id) => *text = id.to_string(),
                None => {
                    let message = format!("the set creates no upstream with the ref {name}");
                    let at = at.index(index);
                    self.problems.add(&at.field("upstream_id"), FieldCode::NotFound, message);
                    // Told already.
                    *text = Uuid::nil().to_string();
                }
            }
        }
    }

    fn missing<T>(&mut self, at: &Path<'_>) -> Option<T> {
        self.problems.add(at, FieldCode::Required, "is required");
        None
    }

    fn stray<T>(&mut self, at: &Path<'_>, message: &str) -> Option<T> {
        self.problems.add(at, FieldCode::Contradiction, message);
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        from_json,
        gateway::{LocationTarget, UpstreamServer},
    };

    fn parse(changes: &Value) -> Result<ChangeSet> {
        // Ids come in any order.
        let mut ids = (0..1000).rev().map(Uuid::from_u128);
        let set = json!({"message": "a", "changes": changes});
        from_json::<NewChangeSet>(set)?.parse(|| ids.next().unwrap())
    }

    fn upstream(name: &str) -> NewUpstream {
        NewUpstream {
            name: name.into(),
            algorithm: Default::default(),
            servers: vec![UpstreamServer::at("10.0.0.1:80")],
            health_check: None,
            keepalive_connections: 0,
        }
    }

    fn host(upstreams: &[&str]) -> Value {
        let locations: Vec<_> = upstreams
            .iter()
            .map(|it| json!({"path": format!("/{it}"), "upstream_id": it}))
            .collect();
        json!({"name": "a", "server_name": "a.example", "listen_port": 80, "locations": locations})
    }

    #[test]
    fn names_within_the_set_become_ids_wherever_they_stand() {
        let id = Uuid::max();
        let set = parse(&json!([
            {"action": "update", "type": "virtual_host", "id": id, "body": {"locations": host(&["ref:b", "ref:a"])["locations"]}},
            {"action": "create", "type": "upstream", "ref": "a", "body": upstream("a")},
            {"action": "create", "type": "virtual_host", "body": host(&["ref:a", "ref:b"])},
            {"action": "create", "type": "upstream", "ref": "b", "body": upstream("b")},
        ]))
        .unwrap();
        let ids: Vec<_> = set.changes.iter().map(|it| *it.edit.id()).collect();
        assert!(ids[1] < ids[2] && ids[2] < ids[3], "what is created is as old as its place says");
        let (a, b) = (ids[1].to_string(), ids[3].to_string());
        let ServedEdit::VirtualHost(_, Edit::Update(patch, IfMatch::Any)) = &set.changes[0].edit
        else {
            panic!("{set:?}")
        };
        let patch = json!(patch);
        assert_eq!(patch["locations"][0]["upstream_id"], b);
        assert_eq!(patch["locations"][1]["upstream_id"], a);
        let ServedEdit::VirtualHost(_, Edit::Create(content)) = &set.changes[2].edit else {
            panic!("{set:?}")
        };
        let targets = content.spec().locations.iter().map(|it| match &it.target {
            LocationTarget::Upstream(id) => id.to_string(),
            LocationTarget::Proxy(_) | LocationTarget::Files { .. } => String::new(),
        });
        assert_eq!(targets.collect::<Vec<_>>(), [a, b]);
    }

    #[test]
    fn all_mistakes_come_at_once_each_with_its_place() {
        let error = parse(&json!([
            {"action": "create", "type": "upstream", "ref": "", "body": {"name": "a", "servers": []}},
            {"action": "create", "type": "virtual_host", "body": host(&["ref:", "ref:c"])},
            {"action": "delete", "type": "virtual_host", "id": "x", "if_match": "7", "body": {}},
        ]))
        .unwrap_err();
        let fields: Vec<_> = error.fields().iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "changes[0].ref",
                "changes[0].body.servers",
                "changes[1].body.locations[0].upstream_id",
                "changes[1].body.locations[1].upstream_id",
                "changes[2].id",
                "changes[2].if_match",
                "changes[2].body",
            ]
        );
    }

    #[test]
    fn a_condition_is_one_or_more_tags_in_quotes() {
        for (text, good) in [
            ("\"7\"", true),
            ("\"6\", \"7\"", true),
            ("*", true),
            ("7", false),
            ("W/\"7\"", false),
            ("", false),
        ] {
            let change = json!([{"action": "delete", "type": "upstream", "id": Uuid::nil(), "if_match": text}]);
            assert_eq!(parse(&change).is_ok(), good, "{text}");
        }
    }
}
