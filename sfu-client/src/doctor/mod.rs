//! Says what of this client works here, what does not, and how to mend it.

mod local;
mod server;
mod stun;

use crate::signal::JoinOptions;
use serde_json::{Value, json};
use std::fmt::Write;

/// How something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It works.
    Good,
    /// Something is missing that not everybody needs.
    Note,
    /// It does not work.
    Problem,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it belongs to: build, devices, programs, or server.
    pub area: &'static str,
    /// What it is.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// How to mend it.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(area: &'static str, name: &str, detail: String) -> Self {
        Self { area, name: name.to_owned(), status: Status::Good, detail, remedy: None }
    }

    fn note(area: &'static str, name: &str, detail: String, remedy: &str) -> Self {
        Self { area, name: name.to_owned(), status: Status::Note, detail, remedy: Some(remedy.to_owned()) }
    }

    fn problem(area: &'static str, name: &str, detail: String, remedy: &str) -> Self {
        Self { area, name: name.to_owned(), status: Status::Problem, detail, remedy: Some(remedy.to_owned()) }
    }
}

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether everything works that everybody needs.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.status != Status::Problem)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "area": finding.area,
                "name": finding.name,
                "status": finding.status.name(),
                "detail": finding.detail,
                "remedy": finding.remedy,
            })
        };
        json!({
            "event": "doctor",
            "well": self.is_well(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut area = "";
        for finding in &self.findings {
            if finding.area != area {
                area = finding.area;
                // Writing to a string does not fail.
                let _ = writeln!(text, "{area}");
            }
            let _ = writeln!(text, "  {:<8}{:<12}{}", finding.status.name(), finding.name, finding.detail);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "{:22}-> {remedy}", "");
            }
        }
        let problems = self.findings.iter().filter(|finding| finding.status == Status::Problem).count();
        text += &match problems {
            0 => "nothing is wrong\n".to_owned(),
            1 => "1 problem\n".to_owned(),
            problems => format!("{problems} problems\n"),
        };
        text
    }
}

/// Looks at this client, at this machine, and at a server by joining the room of `options` as a subscriber.
pub async fn examine(options: &JoinOptions) -> Diagnosis {
    let mut findings = local::examine();
    server::examine(options, &mut findings).await;
    Diagnosis { findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_remedy() {
        let mut diagnosis =
            Diagnosis { findings: vec![Finding::note("build", "PESQ", "not built".into(), "build it")] };
        assert!(diagnosis.is_well() && diagnosis.to_text().ends_with("nothing is wrong\n"));
        diagnosis.findings.push(Finding::problem("server", "UDP", "nothing comes".into(), "open the port"));
        assert!(!diagnosis.is_well());
        let text = diagnosis.to_text();
        assert!(text.contains("problem UDP         nothing comes\n") && text.contains("-> open the port\n"), "{text}");
        let json = diagnosis.to_json();
        assert_eq!((&json["well"], &json["findings"][1]["remedy"]), (&false.into(), &"open the port".into()));
    }
}
