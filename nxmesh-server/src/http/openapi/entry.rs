use http::Method;
use nxmesh_core::{Error, ErrorKind, tenancy::Role};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Documented, Operation, examples::example, failures, headers};
use crate::http::{ApiError, Needs};

/// An operation, and what people read about it.
#[derive(Debug)]
pub(crate) struct Entry {
    place: Place,
    /// The path of the handler in the code.
    handler: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    operation: Operation,
}

/// Where an operation is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) needs: Needs,
    /// Whether requests are counted here.
    pub(crate) limited: bool,
}

impl Entry {
    /// What is known of an operation by its rule and by the types of its handler.
    pub(crate) fn of<H: Documented<T>, T>(place: Place) -> Self {
        let mut operation = Operation::default();
        add_rule(&mut operation, &place);
        H::describe(&mut operation);
        let handler = std::any::type_name::<H>();
        Self { place, handler, summary: "", description: None, operation }
    }

    pub(crate) fn says(&mut self, summary: &'static str) {
        self.summary = summary;
    }

    pub(crate) fn describe(&mut self, description: &'static str) {
        self.description = Some(description);
    }

    pub(crate) fn fails(&mut self, kind: ErrorKind, when: &'static str) {
        self.operation.fails(status(kind), Some(when));
    }

    pub(crate) fn pages(&mut self) {
        self.operation.pages();
    }

    pub(crate) fn query<T: ToSchema>(&mut self, name: &str, required: bool, description: &str) {
        let schema = self.operation.schemas.refer::<T>();
        self.operation.parameters.push(json!({
            "name": name,
            "in": "query",
            "required": required,
            "description": description,
            "schema": schema,
        }));
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// As the document has it, and the operation with the schemas it refers to.
    pub(super) fn write(self) -> (Value, Operation) {
        let Self { place, handler, summary, description, operation } = self;
        let (area, id) = name(handler);
        let mut written = json!({
            "operationId": id,
            "tags": [area],
            "summary": summary,
            "parameters": parameters(&operation, &place.path),
            "responses": responses(&operation, &place),
        });
        if let Some(description) = description {
            written["description"] = description.into();
        }
        if place.needs == Needs::Nothing {
            written["security"] = json!([]);
        }
        if let Some(body) = &operation.body {
            let content = body.media.iter().map(|it| ((*it).to_owned(), content(&body.schema)));
            let content: Map<_, _> = content.collect();
            written["requestBody"] = json!({"required": true, "content": content});
        }
        (written, operation)
    }
}

fn status(kind: ErrorKind) -> http::StatusCode {
    ApiError::of(&Error::new(kind, "")).status()
}

impl Place {
    /// Whether a request with an `Idempotency-Key` is done once here.
    fn takes_key(&self) -> bool {
        self.limited && self.method == Method::POST && !self.path.starts_with("/v1/auth/")
    }
}

/// What follows from who may use a route, and from where it is.
fn add_rule(operation: &mut Operation, place: &Place) {
    match place.needs {
        Needs::Nothing => {}
        Needs::Login => operation.fails(status(ErrorKind::Unauthenticated), None),
        Needs::Permission(permission) => {
            operation.fails(status(ErrorKind::Unauthenticated), None);
            operation.fails(status(ErrorKind::NotFound), None);
            let when = match permission.least_role() {
                Role::Viewer => None,
                Role::Operator => Some("This needs the role operator."),
                Role::Admin => Some("This needs the role admin."),
                Role::Owner => Some("This needs the role owner."),
            };
            if when.is_some() {
                operation.fails(status(ErrorKind::Forbidden), when);
            }
        }
    }
    if place.limited {
        operation.fails(ApiError::too_many(1).status(), None);
    }
    if place.takes_key() {
        operation.parameters.push(json!({
            "name": "idempotency-key",
            "in": "header",
            "description": "Requests with the same key are done once, within a day.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }));
        let when = "A request with the same key is under way, or its outcome was lost.";
        operation.fails(status(ErrorKind::Conflict), Some(when));
        operation.fails(status(ErrorKind::Invalid), None);
    }
}

/// Area and id of the operation that a handler does: `gateway`, `agents_list`.
fn name(handler: &str) -> (&str, String) {
    let mut parts = handler.split("::").skip(1);
    let area = match parts.next() {
        Some(area @ ("events" | "gateway" | "tenancy")) => area,
        Some(_) | None => "server",
    };
    (area, parts.collect::<Vec<_>>().join("_"))
}

fn parameters(operation: &Operation, path: &str) -> Value {
    let names = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.zip(&operation.path).map(|(name, (schema, description))| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": description,
            "schema": schema,
        })
    });
    let request_id = json!({"$ref": "#/components/parameters/x-request-id"});
    in_path.chain(operation.parameters.iter().cloned()).chain([request_id]).collect()
}

fn responses(operation: &Operation, place: &Place) -> Value {
    let limits = headers::LIMITS.into_iter().filter(|_| place.limited);
    let replayed = place.takes_key().then_some(headers::REPLAYED);
    let always = [headers::REQUEST_ID].into_iter().chain(limits).chain(replayed);
    let always: Vec<_> = always.collect();
    let answers = operation.answers.iter().map(|(status, answer)| {
        let names = always.iter().chain(&answer.headers).copied();
        let mut response = json!({
            "description": answer.description,
            "headers": headers::refer(names),
        });
        if let Some(schema) = &answer.schema {
            response["content"] = json!({answer.media: content(schema)});
        }
        (status.to_string(), response)
    });
    let failures = operation.failures.iter();
    let failures =
        failures.map(|(status, when)| (status.to_string(), failures::refer(*status, *when)));
    Value::Object(answers.chain(failures).collect())
}

fn content(schema: &Value) -> Value {
    match example(schema) {
        Some(example) => json!({"schema": schema, "example": example}),
        None => json!({"schema": schema}),
    }
}
