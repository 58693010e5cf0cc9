//! What can be done with what was made, by its id.

use serde_json::{Map, Value, json};

/// Adds to each answer that something was made the operations on it.
pub(super) fn add(paths: &mut Map<String, Value>) {
    let operations: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(_, it)| {
                (path.clone(), it["operationId"].as_str().unwrap_or_default().to_owned())
            })
        })
        .collect();
    for (path, methods) in paths {
        let (collection, id) = match path.strip_suffix("/tokens") {
            Some(agents) => (agents, "agent_id"),
            None => (path.as_str(), "id"),
        };
        let Some(made) = methods.pointer_mut("/post/responses/201") else { continue };
        let collection = collection.rsplit('/').next().unwrap_or_default();
        let on_it = format!("/v1/{collection}/{{id}}");
        let with_id_only = |path: &str| path.starts_with(&on_it) && path.matches('{').count() == 1;
        let links = operations.iter().filter(|(path, _)| with_id_only(path));
        let links = links.map(|(_, operation)| {
            let parameters = json!({"id": format!("$response.body#/{id}")});
            (operation.clone(), json!({"operationId": operation, "parameters": parameters}))
        });
        let links: Map<_, _> = links.collect();
        if !links.is_empty() {
            made["links"] = links.into();
        }
    }
}
