//! What members do.

use super::control::{AUDIO, VIDEO, member_id};
use super::member::SlotState;
use super::{Conference, ends};
use crate::scenario::Action;
use sfu_core::command::{Command, LayerPreference, Quality};
use sfu_room::Subscription;
use str0m::media::{Direction, MediaKind};

impl Conference {
    pub(super) fn act(&mut self, index: usize, action: Action) {
        if !self.members[index].is_present() {
            return;
        }
        // Two have to stay, or there is nothing to check.
        let present = self.members.iter().filter(|member| member.is_present()).count();
        if ends(action) && present <= 2 {
            return;
        }
        match action {
            Action::SwitchSlot => self.switch_slot(index),
            Action::ToggleMute => {
                let which = if self.rng.chance(0.5) { AUDIO } else { VIDEO };
                self.toggle_mute(index, which);
            }
            Action::Unmute => self.unmute(index),
            Action::ChangePreference => self.change_preference(index),
            Action::RestartIce => self.restart_ice(index),
            Action::MoveAddress => self.move_address(index),
            Action::AddSlot => self.add_slot(index),
            Action::ToggleSection => self.toggle_section(index),
            Action::Republish => self.republish(index),
            Action::Speak => self.speak(index),
            Action::Leave => self.leave(index),
            Action::Vanish => self.vanish(index),
        }
    }

    fn random_slot(&mut self, index: usize) -> Option<usize> {
        let slots: Vec<usize> = (0..self.members[index].slots.len()).collect();
        self.rng.pick(&slots).copied()
    }

    fn switch_slot(&mut self, index: usize) {
        let Some(slot) = self.random_slot(index) else { return };
        let others = self.others(index);
        let shows = if self.rng.chance(0.1) { None } else { self.rng.pick(&others).copied() };
        self.assign(index, slot, shows);
    }

    fn unmute(&mut self, index: usize) {
        for which in [AUDIO, VIDEO] {
            if self.members[index].sources[which].muted {
                self.toggle_mute(index, which);
            }
        }
    }

    fn toggle_mute(&mut self, index: usize, which: usize) {
        let now = self.now;
        let source = &mut self.members[index].sources[which];
        let Some(publication) = source.publication else { return };
        source.muted = !source.muted;
        let muted = source.muted;
        source.flows.set(now, !muted);
        self.room.set_muted(publication, muted);
        self.fill_all();
    }

    fn change_preference(&mut self, index: usize) {
        let Some(slot) = self.random_slot(index) else { return };
        let Some(mid) = self.slot_mid(index, slot) else { return };
        let qualities = [Quality::Low, Quality::Medium, Quality::High];
        let quality = self.rng.pick(&qualities).copied().unwrap_or_default();
        let paused = self.rng.chance(0.3);
        let now = self.now;
        let member = &mut self.members[index];
        member.slots[slot].quality = quality;
        member.slots[slot].paused.set(now, paused);
        let member = member_id(index);
        let subscription =
            self.room.member(member).and_then(|member| member.slot(&mid)).map(|s| s.subscription.clone());
        let preference = LayerPreference { quality, paused, ..LayerPreference::default() };
        self.room.subscribe(member, &mid, subscription.unwrap_or_default(), preference);
        self.carry_out_orders();
    }

    fn restart_ice(&mut self, index: usize) {
        if !self.members[index].server_connected {
            return;
        }
        let offer = self.members[index].peer.offer_restart();
        let local = self.credentials();
        let parsed = self.answer(index, &offer, &local);
        let now = self.now;
        let member = &mut self.members[index];
        member.local_ice = Some(local.clone());
        member.disturb(now);
        let (server, transport) = (member.server, member.transport);
        self.room.order(server, Command::RestartIce { transport, local, remote: parsed.ice });
        self.update_sections(index);
    }

    fn move_address(&mut self, index: usize) {
        let now = self.now;
        let mut rng = self.rng.fork();
        let member = &mut self.members[index];
        if member.server_connected && member.peer.connected && member.moved.is_none() {
            member.move_to(now, &mut rng);
        }
    }

    fn add_slot(&mut self, index: usize) {
        let Some(local) = self.members[index].local_ice.clone() else { return };
        let video = self.rng.chance(0.5);
        let kind = if video { MediaKind::Video } else { MediaKind::Audio };
        let now = self.now;
        let member = &mut self.members[index];
        let offer = member.peer.offer_slot(kind);
        member.slots.push(SlotState::new(now, video));
        self.answer(index, &offer, &local);
        self.update_sections(index);
        let shows = self.unseen_by(index, video);
        self.assign(index, self.members[index].slots.len() - 1, shows);
    }

    /// The section keeps its source and the keys stay, so its numbers must go on (RFC 3711 section 9.1); the verdict
    /// counts those that were used twice, and looks for silence.
    fn toggle_section(&mut self, index: usize) {
        let Some(local) = self.members[index].local_ice.clone() else { return };
        let Some(slot) = self.random_slot(index) else { return };
        let shows = self.members[index].slots[slot].shows.last();
        let mid = self.members[index].peer.slots[slot].mid;
        for direction in [Direction::Inactive, Direction::RecvOnly] {
            let offer = self.members[index].peer.offer_direction(mid, direction);
            self.answer(index, &offer, &local);
            self.update_sections(index);
            let now = self.now;
            self.members[index].slots[slot].shows.set(now, None);
        }
        self.assign(index, slot, shows);
    }

    fn update_sections(&mut self, index: usize) {
        let member = &self.members[index];
        let (server, transport, sections) = (member.server, member.transport, member.sections.clone());
        self.room.set_sections(member_id(index), transport, &sections, &Subscription::Nothing);
        self.room.order(server, Command::UpdateSections { transport, sections });
        self.fill_all();
    }

    fn republish(&mut self, index: usize) {
        let which = if self.rng.chance(0.3) { AUDIO } else { VIDEO };
        let watchers = self.watchers(index, which == VIDEO);
        self.unpublish(index, which);
        self.publish(index, which);
        for (watcher, slot) in watchers {
            self.assign(watcher, slot, Some(index));
        }
    }

    /// Slots that carry a source.
    fn watchers(&self, index: usize, video: bool) -> Vec<(usize, usize)> {
        let mut watchers = Vec::new();
        for (watcher, member) in self.members.iter().enumerate().filter(|(_, member)| member.is_present()) {
            let shows = |slot: &SlotState| slot.video == video && slot.shows.last() == Some(index);
            let slots = member.slots.iter().enumerate().filter(|(_, slot)| shows(slot));
            watchers.extend(slots.map(|(slot, _)| (watcher, slot)));
        }
        watchers
    }

    fn speak(&mut self, index: usize) {
        for member in &mut self.members {
            member.peer.microphone.speaking = false;
        }
        self.members[index].peer.microphone.speaking = true;
        self.speaking = Some((index, self.now));
    }

    fn leave(&mut self, index: usize) {
        self.part(index);
        self.members[index].left = true;
        let left = self.room.leave(member_id(index));
        self.fill_all();
        if left.is_some_and(|left| left.speakers_changed) {
            self.count_loudest();
        }
    }

    /// The server will not notice before consent expires, which is after the conference.
    fn vanish(&mut self, index: usize) {
        self.members[index].gone = true;
        self.part_flows(index);
    }

    fn part(&mut self, index: usize) {
        self.part_flows(index);
        for source in &mut self.members[index].sources {
            source.publication = None;
        }
        self.empty_slots_of(index, false);
        self.empty_slots_of(index, true);
    }

    fn part_flows(&mut self, index: usize) {
        let now = self.now;
        if self.speaking.is_some_and(|(speaker, _)| speaker == index) {
            self.speaking = None;
        }
        for source in &mut self.members[index].sources {
            source.flows.set(now, false);
        }
    }
}
