//! The control plane as its property test and its fuzz target see it: small, whole, and with things that have names.

use super::*;
use crate::config::LimitsConfig;
use sfu_proto::v1::Moderate;
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::moderate::Action;
use std::fmt::Write as _;

pub(crate) const SIMULCAST: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-simulcast.sdp");
pub(crate) const BEFORE_RESTART: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-restart-0.sdp");
pub(crate) const AFTER_RESTART: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-restart-1.sdp");
pub(crate) const PLAYER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-whep.sdp");

/// An open control plane of few rooms and participants, on two workers without threads.
pub(crate) fn small(certificate: &DtlsCertificate) -> Arc<Control> {
    let mut config = Config::default();
    config.auth.open = true;
    config.limits = LimitsConfig {
        rooms: 2,
        participants: 5,
        participants_per_room: 3,
        publications_per_participant: 2,
        sections_per_participant: 18,
        changes_per_second: 20,
        ..LimitsConfig::default()
    };
    let workers = (0..2).map(WorkerHandle::idle).collect();
    Control::new(Arc::new(config), Clock::start(), certificate, workers)
}

/// All that a refusal must not change.
pub(crate) fn state(control: &Control) -> String {
    let mut text = String::new();
    let mut show = |mut lines: Vec<String>| {
        lines.sort();
        lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    };
    show(control.rooms.iter().map(|entry| format!("{entry:?}", entry = (entry.key(), entry.value()))).collect());
    show(control.rooms_by_id.iter().map(|entry| format!("{:?}", entry.key())).collect());
    show(control.transports.iter().map(|e| format!("{:?} {:?}", e.key(), (e.value().0.id, e.value().1))).collect());
    show(control.sessions.iter().map(|e| format!("{:?} {:?}", e.key(), (e.value().0.id, e.value().1))).collect());
    show(vec![format!("{:?}", control.directives), format!("{:?}", control.agenda)]);
    show(control.workers.iter().map(WorkerHandle::shown).collect());
    text
}

/// Puts the names of things that are there in place of the letters.
pub(crate) fn with_names(body: Request, session: &Session) -> Request {
    let (publication, participant) = {
        let state = session.room.lock();
        let first = |id| state.roster.member(id).and_then(|member| member.publications().first());
        let publication = first(session.id).or_else(|| state.participants.keys().find_map(|id| first(*id)));
        let publication = publication.map(|publication| publication_text(publication.id)).unwrap_or_default();
        (publication, state.participants.keys().next().map(ParticipantId::to_string).unwrap_or_default())
    };
    let fill = |name: &mut String| *name = name.replace("{t}", &publication).replace("{p}", &participant);
    let mut body = body;
    match &mut body {
        Request::Unpublish(request) => fill(&mut request.publication_id),
        Request::SetMuted(request) => fill(&mut request.publication_id),
        Request::Subscribe(request) => fill(&mut request.publication_id),
        Request::EncoderDirectiveAck(request) => fill(&mut request.publication_id),
        Request::LongTermReference(request) => fill(&mut request.publication_id),
        Request::ReferenceDirectiveAck(request) => fill(&mut request.publication_id),
        Request::SendData(request) => request.to.iter_mut().for_each(fill),
        Request::Moderate(Moderate {
            action: Some(Action::RemoveParticipantId(name) | Action::MutePublicationId(name)),
        }) => {
            fill(name);
        }
        _ => {}
    }
    body
}
