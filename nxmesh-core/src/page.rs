//! Lists in pages.

use serde::{Deserialize, Serialize};

use crate::{FieldCode, Path, Problems, Result};

/// Which page of a list, and how long its pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRequest {
    page: u64,
    per_page: u64,
}

impl PageRequest {
    /// The longest page there is.
    pub const MAX_PER_PAGE: u64 = 100;

    /// Page `page` (from 1) of pages of `per_page` (1 to 100).
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming `page` or `per_page`.
    pub fn new(page: u64, per_page: u64) -> Result<Self> {
        let mut problems = Problems::default();
        // More would overflow the offset that databases count in.
        let last = i64::MAX as u64 / Self::MAX_PER_PAGE;
        if !(1..=last).contains(&page) {
            let message = format!("must be from 1 to {last}");
            problems.add(&Path::root().field("page"), FieldCode::OutOfRange, message);
        }
        if !(1..=Self::MAX_PER_PAGE).contains(&per_page) {
            let message = format!("must be from 1 to {}", Self::MAX_PER_PAGE);
            problems.add(&Path::root().field("per_page"), FieldCode::OutOfRange, message);
        }
        problems.finish(Self { page, per_page })
    }

    /// All there is on one page: for what never leaves the program.
    pub(crate) const fn whole() -> Self {
        Self { page: 1, per_page: i64::MAX as u64 }
    }

    /// The number of the page, from 1.
    #[must_use]
    pub const fn page(self) -> u64 {
        self.page
    }

    /// How many items a page holds.
    #[must_use]
    pub const fn per_page(self) -> u64 {
        self.per_page
    }

    /// How many items stand before this page.
    #[must_use]
    pub const fn offset(self) -> u64 {
        (self.page - 1) * self.per_page
    }

    /// This page of a list that is at hand whole.
    pub fn of<T>(self, all: impl IntoIterator<Item = T>) -> Page<T> {
        let mut total = 0;
        let mut data = Vec::new();
        for item in all {
            if total >= self.offset() && total < self.offset() + self.per_page {
                data.push(item);
            }
            total += 1;
        }
        Page { data, meta: PageMeta { page: self.page, per_page: self.per_page, total } }
    }

    /// The page of a list, of which these are the items that stand on it.
    #[must_use]
    pub fn part<T>(self, data: Vec<T>, total: u64) -> Page<T> {
        Page { data, meta: PageMeta { page: self.page, per_page: self.per_page, total } }
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { page: 1, per_page: 20 }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub data: Vec<T>,
    /// Where in the list we are.
    pub meta: PageMeta,
}

/// Where in a list a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageMeta {
    /// The number of the page, from 1.
    pub page: u64,
    /// How many items a page holds at most.
    pub per_page: u64,
    /// How many items the whole list has.
    pub total: u64,
}

#[cfg(feature = "openapi")]
impl<T: utoipa::ToSchema> utoipa::PartialSchema for Page<T> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref};
        let item = Ref::from_schema_name(T::name());
        ObjectBuilder::new()
            .description(Some("One page of a list."))
            .property("data", ArrayBuilder::new().items(item))
            .property("meta", Ref::from_schema_name("PageMeta"))
            .required("data")
            .required("meta")
            .into()
    }
}

#[cfg(feature = "openapi")]
impl<T: utoipa::ToSchema> utoipa::ToSchema for Page<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
        schemas.push(("PageMeta".to_owned(), <PageMeta as utoipa::PartialSchema>::schema()));
    }
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(f).collect(), meta: self.meta }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_at_their_edges() {
        for (page, per_page, field) in [(0, 20, "page"), (1, 0, "per_page"), (1, 101, "per_page")] {
            let error = PageRequest::new(page, per_page).unwrap_err();
            assert_eq!(error.fields()[0].field, field);
        }
        assert!(PageRequest::new(1, 1).is_ok());
        assert!(PageRequest::new(i64::MAX as u64 / 100, 100).is_ok());
    }

    #[test]
    fn a_page_past_the_end_is_empty_and_still_counts() {
        let page = PageRequest::new(3, 2).unwrap().of(0..4);
        assert_eq!((page.data.len(), page.meta.total), (0, 4));
    }
}
