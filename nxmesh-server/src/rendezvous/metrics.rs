//! What rendezvous counts about itself, as Prometheus reads it.

use std::{fmt, sync::Arc, time::Duration};

use axum::{Router, response::IntoResponse, routing::get};
use futures::future::{BoxFuture, FutureExt};
use http::{StatusCode, header};
use nxmesh_core::rendezvous::{Rendezvous, RendezvousFigures};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode_registry},
    metrics::{
        MetricType, counter::ConstCounter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::RendezvousHttpSettings;
use crate::http::metrics::{MoreFigures, NewHistogram, class_of, histogram};

/// Where the routers of rendezvous count what they answer; clones count together.
#[derive(Debug, Clone)]
pub struct RendezvousMetrics(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    registry: Registry,
    requests: Family<Answered, Histogram, NewHistogram>,
}

/// A request by what there are few of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    protocol: &'static str,
    status: &'static str,
}

impl Default for RendezvousMetrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::new_with_constructor(NewHistogram);
        registry.register_with_unit(
            "nxmesh_rendezvous_request_duration",
            "How long requests of rendezvous took until they were answered",
            Unit::Seconds,
            requests.clone(),
        );
        Self(Arc::new(Kept { registry, requests }))
    }
}

impl RendezvousMetrics {
    pub(super) fn answered(&self, protocol: &'static str, status: StatusCode, took: Duration) {
        let answered = Answered { protocol, status: class_of(status) };
        self.0.requests.get_or_create(&answered).observe(took.as_secs_f64());
    }

    /// These figures and those of a rendezvous, for [`HttpSettings::more_figures`](crate::HttpSettings::more_figures).
    #[must_use]
    pub fn of(&self, rendezvous: Rendezvous) -> Arc<dyn MoreFigures> {
        Arc::new(Both { metrics: self.clone(), rendezvous })
    }
}

/// `GET /metrics` for those who mount rendezvous alone. It names nobody, but is not for everybody either.
pub fn metrics(rendezvous: Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    let figures = settings.metrics.of(rendezvous);
    let show = async move || {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let text = figures.text().await + "# EOF\n";
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    };
    Router::new().route("/metrics", get(show))
}

#[derive(Debug)]
struct Both {
    metrics: RendezvousMetrics,
    rendezvous: Rendezvous,
}

impl MoreFigures for Both {
    fn text(&self) -> BoxFuture<'_, String> {
        async {
            let mut core = Registry::default();
            core.register_collector(Box::new(Core(self.rendezvous.figures().await)));
            let mut text = String::new();
            // A string takes whatever is written to it.
            let _ = encode_registry(&mut text, &self.metrics.0.registry);
            let _ = encode_registry(&mut text, &core);
            text
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Core(RendezvousFigures);

impl Collector for Core {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let RendezvousFigures { offers, rpc_offers, listeners, store_calls, .. } = &self.0;
        let (name, help) = ("nxmesh_rendezvous_offers", "Offers that are there, by protocol");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (protocol, count) in [("offers", offers), ("rpc", rpc_offers)] {
            let Some(count) = count else { continue };
            ConstGauge::new(*count).encode(metric.encode_family(&[("protocol", protocol)])?)?;
        }
        let (name, help) =
            ("nxmesh_rendezvous_listeners", "Clients that events are pushed to here");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(*listeners).encode(metric)?;
        let name = "nxmesh_rendezvous_store_call_duration";
        let (help, unit) = ("How long calls of its store took", Some(&Unit::Seconds));
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for calls in store_calls {
            histogram(metric.encode_family(&[("operation", calls.operation)])?, &calls.seconds)?;
        }
        let name = "nxmesh_rendezvous_store_call_failures";
        let help = "Calls that found its store away";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for calls in store_calls {
            let counter = ConstCounter::new(calls.failed);
            counter.encode(metric.encode_family(&[("operation", calls.operation)])?)?;
        }
        Ok(())
    }
}
