//! Lists as streams, page by page.

use std::collections::VecDeque;

use futures::{Stream, stream};
use nxmesh_core::{Page, PageRequest};
use serde::de::DeserializeOwned;

use crate::{Client, Error, Result, request::Call};

struct State {
    page: u64,
    done: bool,
}

/// All items of a list, in its order; a page is fetched when it is needed.
///
/// What is made or removed meanwhile may shift pages: an item can then be left
/// out or come twice.
pub(crate) fn items<T: DeserializeOwned + Send + 'static>(
    client: Client,
    call: Call,
) -> impl Stream<Item = Result<T>> + Send + Unpin {
    let first = (State { page: 1, done: false }, VecDeque::new());
    let stream =
        stream::try_unfold(first, move |(mut state, mut waiting): (State, VecDeque<T>)| {
            let (client, call) = (client.clone(), call.clone());
            async move {
                while waiting.is_empty() && !state.done {
                    let request = PageRequest::new(state.page, PageRequest::MAX_PER_PAGE);
                    let request =
                        request.map_err(|_| Error::Answer { status: 200, source: None })?;
                    let page: Page<T> = client.fetch(call.clone().page(request)).await?;
                    state.done = page.meta.page * page.meta.per_page >= page.meta.total;
                    state.page += 1;
                    waiting.extend(page.data);
                }
                Ok(waiting.pop_front().map(|item| (item, (state, waiting))))
            }
        });
    Box::pin(stream)
}
