//! The result as a table for people.

use super::RunResult;
use crate::run::Limit;
use std::fmt;

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = &self.limit {
            writeln!(f, "{limit}\n")?;
        }
        for (name, value) in self.counts() {
            writeln!(f, "{name:<30}{value:>18}")?;
        }
        writeln!(f, "\n{:<30}{:>9}{:>9}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p95", "p99", "p99.9", "max")?;
        for (name, q) in self.times() {
            writeln!(f, "{name:<30}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", q.p50, q.p95, q.p99, q.p999, q.max)?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "\n{:<30}{:>18}", "thread of the server", "cores")?;
            for (name, share) in server.busy_threads() {
                writeln!(f, "{name:<30}{share:>18.3}")?;
            }
        }
        if let Some(floor) = &self.floor {
            writeln!(f, "\n{floor}")?;
        }
        if let Some(reason) = &self.ended_early {
            writeln!(f, "\nended early after {:.0} s: {reason}", self.seconds)?;
        }
        if let Some(error) = &self.first_error {
            writeln!(f, "\nfirst failed join: {error}")?;
        }
        if self.generator_was_the_limit {
            writeln!(
                f,
                "\nThe generator was the limit, not the server: use fewer participants or more generator CPUs."
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [number, packets, loss, p99, cpu] = self.headings();
        writeln!(f, "{number:>12}{packets:>14}{loss:>10}{p99:>10}{cpu:>12}")?;
        for step in &self.steps {
            let [number, packets, loss, p99, cpu] = step.cells();
            writeln!(f, "{number:>12}{packets:>14}{loss:>10}{p99:>10}{cpu:>12}   {}", step.verdict())?;
        }
        write!(f, "{}", self.verdict())
    }
}
