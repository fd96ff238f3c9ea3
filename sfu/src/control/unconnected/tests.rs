//! Sessions that never connect: who gives way, and who is not hurt.

use crate::control::Control;
use crate::control::error::ControlError;
use crate::control::participant::Access;
use crate::control::tests::{Member, control_with, event};
use crate::lock::lock;
use sfu_core::event::Event;
use sfu_proto::v1::{ErrorCode, LeaveReason};
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// One who never connects, of this token and at this address.
fn viewer(control: &Arc<Control>, address: &str, token: u64) -> Result<Member, ControlError> {
    Member::join_from(control, Access::Whep, Some(address.parse().unwrap()), Some(token))
}

/// So many of one token and address.
fn viewers(control: &Arc<Control>, number: usize, address: &str, token: u64) -> Vec<Member> {
    (0..number).map(|_| viewer(control, address, token).unwrap()).collect()
}

fn is_here(member: &Member) -> bool {
    member.session.room.lock().participants.contains_key(&member.session.id)
}

/// Which of them are still here.
fn here(members: &[Member]) -> Vec<bool> {
    members.iter().map(is_here).collect()
}

fn connected(member: &Member) -> Event {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let path = NetworkPath { remote, local: IpAddr::from(Ipv4Addr::LOCALHOST), protocol: Protocol::Udp };
    Event::Connected { transport: member.transport(), path, ice: Duration::ZERO, dtls: Duration::ZERO }
}

/// Reports that a member has connected, and waits until that is known.
async fn connect(
    control: &Arc<Control>,
    reports: &tokio::sync::mpsc::Sender<crate::worker_thread::Report>,
    member: &Member,
) {
    reports.send(event(connected(member))).await.unwrap();
    while lock(&control.unconnected.sessions).contains_key(&member.session.id) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_oldest_of_a_token_gives_way_and_who_has_connected_stays() {
    let (control, reports) = control_with(1, |config| config.limits.unconnected_sessions_per_token = 2);
    let early = viewer(&control, "192.0.2.1", 1).unwrap();
    connect(&control, &reports, &early).await;
    let other = viewer(&control, "192.0.2.1", 2).unwrap();
    let flood = viewers(&control, 5, "192.0.2.1", 1);
    assert_eq!(here(&flood), [false, false, false, true, true]);
    assert!(is_here(&early) && is_here(&other));
    assert_eq!(flood[0].left().await, LeaveReason::ConnectionLost);
    assert_eq!(control.unconnected(), (3, 3));
}

#[tokio::test]
async fn an_invitation_that_a_stranger_floods_still_serves_others() {
    let (control, _reports) = control_with(1, |config| config.limits.unconnected_sessions_per_token = 10);
    let guest = viewer(&control, "192.0.2.1", 1).unwrap();
    let flood = viewers(&control, 100, "198.51.100.1", 1);
    assert!(is_here(&guest));
    assert_eq!(here(&flood).iter().filter(|here| **here).count(), 9);
}

#[tokio::test]
async fn an_address_is_a_network_of_64_bits_and_this_machine_and_proxies_are_none() {
    let (control, _reports) = control_with(1, |config| {
        config.limits.unconnected_sessions_per_address = 2;
        config.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let flood = (0..5).map(|n| viewer(&control, &format!("2001:db8::{n}"), n).unwrap()).collect::<Vec<_>>();
    assert_eq!(here(&flood), [false, false, false, true, true]);
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"] {
        assert_eq!(here(&viewers(&control, 5, address, 0)), [true; 5], "{address}");
    }
}

#[tokio::test]
async fn past_the_servers_limit_the_address_with_the_most_gives_way() {
    let (control, _reports) = control_with(1, |config| config.limits.unconnected_sessions = 10);
    let alone = viewer(&control, "192.0.2.1", 0).unwrap();
    let crowd = viewers(&control, 9, "198.51.100.1", 1);
    let late = viewers(&control, 2, "192.0.2.2", 2);
    assert!(is_here(&alone) && here(&late) == [true; 2]);
    assert_eq!(here(&crowd[..3]), [false, false, true]);
}

#[tokio::test]
async fn in_a_full_room_a_crowd_gives_way_and_two_who_come_at_once_do_not() {
    let (control, _reports) = control_with(1, |config| config.room.max_participants = 12);
    let crowd = viewers(&control, 10, "198.51.100.1", 1);
    let honest = viewers(&control, 2, "192.0.2.1", 2);
    let refused = viewer(&control, "198.51.100.1", 1).err().unwrap();
    assert_eq!(refused.code, ErrorCode::RoomFull, "nobody gives way to its own crowd");
    let late = viewers(&control, 2, "192.0.2.2", 3);
    assert_eq!(
        (here(&crowd[..3]), here(&honest), here(&late)),
        (vec![false, false, true], vec![true; 2], vec![true; 2])
    );
    // Eight are no crowd.
    let refused = viewer(&control, "192.0.2.3", 4).err().unwrap();
    assert_eq!(refused.code, ErrorCode::RoomFull);
    assert_eq!(control.participants(), 12);
}

#[tokio::test]
async fn in_a_full_room_and_on_a_full_server_who_had_time_to_connect_gives_way() {
    for full in ["room", "server"] {
        let (control, reports) = control_with(1, |config| {
            config.limits.connect_seconds = 0;
            if full == "room" { config.room.max_participants = 3 } else { config.limits.participants = 3 }
        });
        let first = viewer(&control, "192.0.2.1", 1).unwrap();
        connect(&control, &reports, &first).await;
        let others = viewers(&control, 4, "192.0.2.1", 1);
        assert!(is_here(&first));
        assert_eq!(here(&others), [false, false, true, true]);
        for other in &others[2..] {
            connect(&control, &reports, other).await;
        }
        assert!(viewer(&control, "192.0.2.1", 1).is_err(), "all are connected");
        assert_eq!(control.participants(), 3);
    }
}

#[tokio::test]
async fn who_joins_without_media_counts_when_its_connection_is_lost() {
    let (control, _reports) = control_with(1, |_| {});
    let member = Member::join(&control, Access::Signal);
    control.end_media(&mut member.session.room.lock(), member.session.id);
    control.unconnected.leave(member.session.id);
    control.detach(&member.session);
    assert_eq!(control.unconnected().0, 1);
    let (session, _) = control.resume(&member.joined.session, None).unwrap();
    assert_eq!(control.unconnected().0, 0);
    session.leave();
    assert_eq!(control.unconnected(), (0, 0));
}
