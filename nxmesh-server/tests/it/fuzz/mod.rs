//! No text that a caller writes becomes more than that text: every string of every body is
//! refused by its name, or kept as it was sent and rendered without another directive.

mod cases;
mod judge;
mod subjects;
mod texts;
mod walk;
