use std::collections::BTreeMap;

use http::StatusCode;
use nxmesh_core::PageRequest;
use serde_json::{Value, json};

use super::schemas::Schemas;

/// What is known of one operation so far.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    /// The schemas of the path's parameters, in their order.
    pub(super) path: Vec<(Value, &'static str)>,
    /// All other parameters.
    pub(super) parameters: Vec<Value>,
    /// The schema of the body.
    pub(super) body: Option<Body>,
    /// What is answered when all is well, by status.
    pub(super) answers: BTreeMap<u16, Answer>,
    /// What goes wrong, by status; and when, where that is not the same for all operations.
    pub(super) failures: BTreeMap<u16, Option<&'static str>>,
    /// The schemas that all of these refer to.
    pub(crate) schemas: Schemas,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media: &'static [&'static str],
    pub(super) schema: Value,
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) description: &'static str,
    pub(super) media: &'static str,
    /// `None` for nothing.
    pub(super) schema: Option<Value>,
    /// Headers that are always there, by the name of their description.
    pub(super) headers: Vec<&'static str>,
}

/// A handler that documents itself: what all its extractors read, and what it answers.
#[diagnostic::on_unimplemented(
    message = "this handler cannot be documented",
    note = "every extractor it takes must be an `Input`, and what it answers an `Output`, so name the answer's type: `Result<Created<T>, ApiError>` rather than `impl IntoResponse`; there are those in http/openapi/inputs.rs and http/openapi/outputs.rs"
)]
pub(crate) trait Documented<T> {
    /// Adds what its types say.
    fn describe(operation: &mut Operation);
}

/// Something that a handler takes.
#[diagnostic::on_unimplemented(
    message = "the document does not know what `{Self}` reads from a request",
    note = "implement `Input` for it in http/openapi/inputs.rs"
)]
pub(crate) trait Input {
    /// Adds the parameters or the body that it reads, and how that fails.
    fn describe(operation: &mut Operation);
}

/// Something that a handler answers.
#[diagnostic::on_unimplemented(
    message = "the document does not know what `{Self}` answers",
    note = "derive `utoipa::ToSchema` for the object in it, or implement `Output` in http/openapi/outputs.rs"
)]
pub(crate) trait Output {
    /// Adds the answer.
    fn describe(operation: &mut Operation);
}

impl Operation {
    pub(crate) fn fails(&mut self, status: StatusCode, when: Option<&'static str>) {
        self.failures.insert(status.as_u16(), when);
    }

    pub(crate) fn answers(
        &mut self,
        status: StatusCode,
        description: &'static str,
        schema: Option<Value>,
        headers: &[&'static str],
    ) {
        let (media, headers) = ("application/json", headers.to_vec());
        let answer = Answer { description, media, schema, headers };
        self.answers.insert(status.as_u16(), answer);
    }

    /// Takes `page` and `per_page`.
    pub(crate) fn pages(&mut self) {
        let usual = PageRequest::default();
        let last = i64::MAX as u64 / PageRequest::MAX_PER_PAGE;
        let most = PageRequest::MAX_PER_PAGE;
        let number = |default: u64, most: u64| json!({"type": "integer", "minimum": 1, "maximum": most, "default": default});
        self.query("page", "The number of the page, from 1.", number(usual.page(), last));
        let text = "How many items a page holds.";
        self.query("per_page", text, number(usual.per_page(), most));
    }

    /// A parameter of the query that may be left out.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it goes")]
    pub(crate) fn query(&mut self, name: &str, description: &str, schema: Value) {
        self.parameters.push(json!({
            "name": name,
            "in": "query",
            "description": description,
            "schema": schema,
        }));
    }

    pub(crate) fn header(&mut self, name: &str, description: &str) {
        self.parameters.push(json!({
            "name": name,
            "in": "header",
            "description": description,
            "schema": {"type": "string"},
        }));
    }
}

macro_rules! documented {
    ($($input:ident),*) => {
        impl<F, Fut, M, $($input),*> Documented<(M, $($input,)*)> for F
        where
            F: FnOnce($($input),*) -> Fut,
            Fut: Future,
            Fut::Output: Output,
            $($input: Input,)*
        {
            fn describe(operation: &mut Operation) {
                $($input::describe(operation);)*
                <Fut::Output as Output>::describe(operation);
            }
        }
    };
}

documented!();
documented!(A);
documented!(A, B);
documented!(A, B, C);
documented!(A, B, C, D);
documented!(A, B, C, D, E);
documented!(A, B, C, D, E, G);
documented!(A, B, C, D, E, G, H);
