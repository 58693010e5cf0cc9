/// Where callers say what a directive stands for, from the object or the list item around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field {
    /// Nowhere: the renderer adds it.
    #[default]
    Ours,
    /// In this one: `listen_port`.
    Named(&'static str),
    /// In a list, at this place: `rewrite_rules[1]`.
    Item(&'static str, usize),
    /// In a list of what is a block itself, which the last one opens: `locations[1].path`.
    Opens(&'static str, usize, &'static str),
    /// Under the directive's own name: `custom_directives.expires`.
    Directive(&'static str),
}

impl Field {
    /// Its path, from where what is around it is said; empty for nowhere.
    pub(super) fn within(self, around: &str, name: &str) -> String {
        let own = match self {
            Self::Ours => return around.to_owned(),
            Self::Named(field) => field.to_owned(),
            Self::Item(list, at) => format!("{list}[{at}]"),
            Self::Opens(list, at, field) => format!("{list}[{at}].{field}"),
            Self::Directive(field) => format!("{field}.{name}"),
        };
        join(around, &own)
    }

    /// Where that is said which stands in its block.
    pub(super) fn around(self, around: &str) -> String {
        match self {
            Self::Opens(list, at, _) => join(around, &format!("{list}[{at}]")),
            Self::Ours | Self::Named(_) | Self::Item(..) | Self::Directive(_) => around.to_owned(),
        }
    }
}

fn join(around: &str, own: &str) -> String {
    if around.is_empty() { own.to_owned() } else { format!("{around}.{own}") }
}
