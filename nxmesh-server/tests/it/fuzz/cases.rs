//! Every text in every place, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};

use nxmesh_core::gateway::{LabelSelector, ServerNames};
use serde_json::Value;

use super::{
    judge::{Files, Judge, Line, is_same, is_within},
    subjects::{Seen, Subject, World},
    texts::{Chance, Text, in_place_of, of_other_types},
    walk::{Place, Step, places},
};
use crate::given::Answer;

const UNKNOWN: &str = "nxmesh_no_such_field";
const HOLE: &str = "THE TEXT GOES HERE";
/// One of so many accepted configurations is also shown to nginx.
const SAMPLE: usize = 7;

/// What is tried: a text in place of a value, or of a key.
struct Case<'a> {
    subject: &'a Subject,
    body: &'a Value,
    place: Place,
    as_key: bool,
    text: Text,
}

/// What all cases came to.
#[derive(Default)]
struct Tally {
    refused: usize,
    kept: usize,
    wrong: Vec<String>,
    /// What is to be compared, and with what.
    rendered: Vec<(String, bool, usize, usize)>,
    /// What nginx is asked about too.
    for_nginx: BTreeSet<usize>,
}

impl Case<'_> {
    fn says(&self) -> String {
        let shown: String = self.text.json.chars().take(80).collect();
        let what = if self.as_key { "key" } else { "value" };
        format!("{} {} as {what}: {shown}", self.subject.name, self.place.field())
    }

    /// The body with the text in its place, as JSON: not every text is a value.
    fn json(&self) -> String {
        let mut body = self.body.clone();
        if self.as_key {
            let Some(Step::Key(key)) = self.place.0.last() else { panic!("no key") };
            let map = self.place.parent();
            let map = map.get_mut(&mut body).as_object_mut().unwrap();
            let value = map.remove(key).unwrap();
            map.insert(HOLE.to_owned(), value);
        } else {
            *self.place.get_mut(&mut body) = HOLE.into();
        }
        body.to_string().replace(&format!("\"{HOLE}\""), &self.text.json)
    }

    /// The place where a key would be.
    fn target(&self) -> Option<Place> {
        let key = self.text.value.as_ref()?.as_str()?;
        let mut steps = self.place.parent().0;
        steps.push(Step::Key(key.to_owned()));
        Some(Place(steps))
    }

    fn is_left_out(&self) -> bool {
        !self.as_key && self.text.value == Some(Value::Null)
    }

    /// Whether a field that is named as wrong is the one that is.
    fn is_to_blame(&self, field: &str) -> bool {
        let own = self.place.field();
        let parent = self.place.parent().field();
        let or_body = |it: &str| if it.is_empty() { "body".to_owned() } else { it.to_owned() };
        if self.as_key {
            // JSON itself does not take half a surrogate as a key, and then there is none.
            let by_key = self.target().map(|it| it.field());
            return by_key.map_or_else(|| field == or_body(&parent), |it| field == it);
        }
        let part_of = |whole: &str| {
            field.strip_prefix(whole).is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        let is_container =
            matches!(self.text.value, Some(Value::Array(_) | Value::Object(_))) && part_of(&own);
        let by_parent = self.is_left_out()
            && (field == or_body(&parent) || part_of(&parent) || parent.is_empty());
        field == own || is_container || by_parent || self.subject.shares_blame(&self.place, field)
    }

    fn check_refusal(&self, answer: &Answer) -> Result<(), String> {
        let fields = match answer.refusal() {
            (422, "VALIDATION_ERROR", fields) => fields,
            // The state that is asked for is not there.
            (412, "CONFLICT", fields) if self.place.name() == "if_match" => fields,
            (status, code, _) => return Err(format!("{status} {code}: {}", answer.body)),
        };
        match fields.iter().all(|it| self.is_to_blame(it)) && !fields.is_empty() {
            true => Ok(()),
            false => Err(format!("names {fields:?}")),
        }
    }

    fn check_kept(&self, seen: &Seen) -> Result<(), String> {
        let unseen = self.subject.unseen.contains(&self.place.shape().as_str());
        if unseen || self.is_left_out() {
            return Ok(());
        }
        let Some(sent) = &self.text.value else { return Err("was taken".into()) };
        if self.as_key {
            let there = self.target().is_some_and(|it| it.get(&seen.kept).is_some());
            return if there { Ok(()) } else { Err("the key is not kept".into()) };
        }
        let kept = self.place.get(&seen.kept).unwrap_or(&Value::Null);
        let (name, text) = (self.place.name(), sent.as_str().unwrap_or_default());
        // Two fields have a form of their own, which means the same.
        let canonical = match name {
            "server_name" => ServerNames::parse(text).ok().map(String::from),
            "label_selector" | "selector" => LabelSelector::parse(text).ok().map(String::from),
            "expires_at" if sent.is_string() => kept.as_str().map(str::to_owned),
            _ => None,
        };
        let expected = canonical.map_or_else(|| sent.clone(), Value::from);
        // What was left empty may be left out.
        let empty = |it: &Value| {
            matches!(it, Value::Array(all) if all.is_empty())
                || matches!(it, Value::Object(all) if all.is_empty())
        };
        // 1 is 1.0.
        let same_number = expected.is_number() && kept.as_f64() == expected.as_f64();
        if *kept == expected
            || same_number
            || (kept.is_null() && empty(&expected))
            || expected.is_object()
            || expected.is_array()
        {
            return Ok(());
        }
        Err(format!("is kept as {kept}"))
    }

    /// Whether less may be rendered than of the usual body.
    fn may_render_less(&self) -> bool {
        let shape = self.place.shape();
        let targets = shape.contains(".target_agents") || shape.contains(".labels");
        let empties = self.text.value.as_ref().is_some_and(|it| !it.is_string());
        // Whoever takes all names of a port needs no server of ours that refuses the others.
        let names = self.text.value.as_ref().and_then(Value::as_str).unwrap_or_default();
        let all_names = self.place.name() == "server_name" && names.split(' ').any(|it| it == "_");
        targets || empties || all_names
    }

    /// Whether what is rendered has another order, or is another object: these are no texts.
    fn renders_anew(&self) -> bool {
        matches!(self.place.name(), "listen_port" | "body")
    }

    /// Sends it, and notes what came of it.
    async fn run(&self, world: &World, base: Option<usize>, judge: &mut Judge, tally: &mut Tally) {
        let sent = Some(self.json());
        let (method, path) = (self.subject.method.clone(), &self.subject.path);
        let answer = world.server.send_with(method, path, &[], sent).await;
        let checked = if answer.status.is_success() {
            tally.kept += 1;
            let seen = self.subject.look(world, &answer).await;
            if let (Some(files), Some(base), false) = (&seen.files, base, self.renders_anew()) {
                let number = judge.add(files);
                // Whatever is near the limits of nginx is shown to it too.
                if number.is_multiple_of(SAMPLE) || self.text.json.len() > 500 {
                    tally.for_nginx.insert(number);
                }
                tally.rendered.push((self.says(), self.may_render_less(), number, base));
            }
            self.check_kept(&seen)
        } else {
            tally.refused += 1;
            self.check_refusal(&answer)
        };
        if let Err(wrong) = checked {
            tally.wrong.push(format!("{}: {wrong}", self.says()));
        }
    }
}

impl Tally {
    /// Compares all that was rendered with what is rendered of the usual bodies.
    fn judge(&mut self, judge: &Judge) {
        let structures = judge.structures();
        for (says, may_lack, number, base) in std::mem::take(&mut self.rendered) {
            let usual = structures[base].as_ref().unwrap();
            let same =
                |it: &[Line]| if may_lack { is_within(it, usual) } else { is_same(it, usual) };
            match &structures[number] {
                Ok(found) if same(found) => {}
                Ok(found) => self.wrong.push(format!("{says}: renders {}", added(found, usual))),
                Err(error) => self.wrong.push(format!("{says}: {error}")),
            }
            if self.for_nginx.remove(&number)
                && let Some(said) = judge.nginx_sees_another_structure(number)
            {
                self.wrong.push(format!("{says}: {said}"));
            }
        }
        let count = self.wrong.len();
        println!("{} refused, {} kept, {count} wrong", self.refused, self.kept);
        let first: Vec<_> = self.wrong.iter().take(60).map(String::as_str).collect();
        assert!(first.is_empty(), "{count} are wrong:\n{}", first.join("\n"));
    }
}

fn added(found: &[Line], usual: &[Line]) -> String {
    let names = |it: &[Line]| it.iter().map(|it| it.1.clone()).collect::<Vec<_>>();
    let (found, usual) = (names(found), names(usual));
    let at = found.iter().zip(&usual).take_while(|(a, b)| a == b).count();
    format!("{:?} where {:?} is usual", found.get(at), usual.get(at))
}

/// What is rendered of the usual body, if anything is.
async fn base(world: &World, subject: &Subject, body: &Value, judge: &mut Judge) -> Option<usize> {
    let answer = world.server.send(subject.method.clone(), &subject.path, Some(body.clone())).await;
    assert!(answer.status.is_success(), "{}: {}", subject.name, answer.body);
    let files: Option<Files> = subject.look(world, &answer).await.files;
    files.map(|files| judge.add(&files))
}

/// Every text in every place of these.
async fn every_text_in(chosen: impl Fn(&Subject) -> bool) -> Tally {
    let world = World::new().await;
    let (mut judge, mut tally) = (Judge::new(), Tally::default());
    for subject in world.subjects().into_iter().filter(chosen) {
        let mut done = BTreeSet::new();
        for body in &subject.bodies {
            let base = base(&world, &subject, body, &mut judge).await;
            for place in places(body).into_iter().skip(1) {
                // Several bodies have the same places but for a few.
                if !done.insert(place.field()) {
                    continue;
                }
                let value = place.get(body).unwrap();
                let texts = match value {
                    Value::String(usual) => in_place_of(usual),
                    // What that turns on wants other fields.
                    Value::Bool(_) => {
                        of_other_types().into_iter().filter(|it| it.json != "true").collect()
                    }
                    Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        of_other_types()
                    }
                };
                for text in texts {
                    let case =
                        Case { subject: &subject, body, place: place.clone(), as_key: false, text };
                    case.run(&world, base, &mut judge, &mut tally).await;
                }
                if let (true, Some(Step::Key(key))) = (place.parent().is_map(), place.0.last()) {
                    for text in in_place_of(key).into_iter().filter(|it| it.json.starts_with('"')) {
                        let case = Case {
                            subject: &subject,
                            body,
                            place: place.clone(),
                            as_key: true,
                            text,
                        };
                        case.run(&world, base, &mut judge, &mut tally).await;
                    }
                }
            }
        }
        for (body, field) in &subject.refused {
            let place = places(body).into_iter().find(|it| it.field() == *field).unwrap();
            for text in in_place_of(place.get(body).unwrap().as_str().unwrap()) {
                let case =
                    Case { subject: &subject, body, place: place.clone(), as_key: false, text };
                case.run(&world, None, &mut judge, &mut tally).await;
            }
        }
    }
    tally.judge(&judge);
    tally
}

#[tokio::test]
async fn every_text_in_every_place_is_refused_by_name_or_kept_as_it_is() {
    let tally = every_text_in(|it| it.name != "change set").await;
    assert!(tally.refused > 5000 && tally.kept > 1000);
}

#[tokio::test]
async fn every_text_in_every_place_of_a_change_set_is_too() {
    let tally = every_text_in(|it| it.name == "change set").await;
    assert!(tally.refused > 1000 && tally.kept > 200);
}

#[tokio::test]
async fn random_texts_in_random_places_are_too() {
    let count = if std::env::var_os("NXMESH_SOAK").is_some() { 100_000 } else { 3000 };
    let world = World::new().await;
    let (mut judge, mut tally) = (Judge::new(), Tally::default());
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let subjects = world.subjects();
    let mut usual = Vec::new();
    for subject in &subjects {
        for body in &subject.bodies {
            let base = base(&world, subject, body, &mut judge).await;
            let texts =
                places(body).into_iter().filter(|it| it.get(body).is_some_and(Value::is_string));
            usual.push((subject, body, base, texts.collect::<Vec<_>>()));
        }
    }
    for _ in 0..count {
        let (subject, body, base, places) = &usual[chance.below(usual.len())];
        let place = places[chance.below(places.len())].clone();
        let as_key = place.parent().is_map() && chance.below(2) == 0;
        let before = match (as_key, place.0.last()) {
            (true, Some(Step::Key(key))) => key.clone(),
            _ => place.get(body).unwrap().as_str().unwrap().to_owned(),
        };
        let text = Value::from(chance.text(&before)).into();
        let case = Case { subject, body, place, as_key, text };
        case.run(&world, *base, &mut judge, &mut tally).await;
    }
    tally.judge(&judge);
}

/// The fields that there are, as the refusal of one that there is not tells them.
async fn known(
    world: &World,
    subject: &Subject,
    body: &Value,
    place: &Place,
) -> Option<BTreeSet<String>> {
    let mut body = body.clone();
    place.get_mut(&mut body).as_object_mut().unwrap().insert(UNKNOWN.into(), 1.into());
    let answer = world.server.send(subject.method.clone(), &subject.path, Some(body)).await;
    let details = answer.body["error"]["details"].as_array().cloned().unwrap_or_default();
    let told = details
        .iter()
        .find_map(|it| it["message"].as_str()?.strip_prefix("no such field; there are "));
    told.map(|it| it.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[tokio::test]
async fn the_bodies_have_every_field_that_there_is() {
    let world = World::new().await;
    for subject in world.subjects() {
        let (mut there, mut all) = (BTreeMap::new(), BTreeMap::new());
        let refused = subject.refused.iter().map(|it| &it.0);
        for body in subject.bodies.iter().chain(refused) {
            for place in places(body) {
                let Some(Value::Object(fields)) = place.get(body) else { continue };
                let Some(known) = known(&world, &subject, body, &place).await else {
                    assert!(place.is_map(), "{}: {} is no map", subject.name, place.field());
                    continue;
                };
                assert!(!place.is_map(), "{}: {} is a map", subject.name, place.field());
                let shape = place.shape();
                let used: &mut BTreeSet<String> = there.entry(shape.clone()).or_default();
                used.extend(fields.iter().filter(|it| !it.1.is_null()).map(|it| it.0.clone()));
                all.insert(shape, known);
            }
        }
        assert!(!all.is_empty(), "{}", subject.name);
        // An update in a set is a patch of what there is, and the bodies of both sorts of object
        // stand at the same shape.
        if subject.name != "change set" {
            assert_eq!(there, all, "{}", subject.name);
        }
    }
}
