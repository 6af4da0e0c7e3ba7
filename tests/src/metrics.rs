//! Reading what a process counts.

use crate::process::Process;

impl Process {
    /// The value of a metric now, all its series added up; 0 if there is none.
    ///
    /// `series` is a name, or a name with labels that must match, such as
    /// `carillon_connections{protocol="push"}`.
    ///
    /// # Panics
    /// If the process does not answer.
    pub async fn metric(&self, series: &str) -> f64 {
        sum(&self.metrics().await, series)
    }

    /// Everything it counts, as Prometheus would read it.
    ///
    /// # Panics
    /// If the process does not answer.
    pub async fn metrics(&self) -> String {
        let response = self.ask("/metrics").await;
        response.expect("/metrics answers").text()
    }
}

fn sum(text: &str, series: &str) -> f64 {
    let (name, labels) = split(series);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(found, _)| {
            let (found, has) = split(found);
            found == name && labels.iter().all(|label| has.contains(label))
        })
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .fold(0.0, |all, value| all + value)
}

/// `name{a="b",c="d"}` as the name and its `a="b"`, `c="d"`.
fn split(series: &str) -> (&str, Vec<&str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',');
    (name, labels.filter(|label| !label.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_up_unless_labels_choose() {
        let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"2\",y=\"2\"} 4\nab 5\n";
        assert_eq!(sum(text, "a").to_string(), "7");
        assert_eq!(sum(text, "a{x=\"2\"}").to_string(), "4");
        assert_eq!(sum(text, "ab").to_string(), "5");
        assert_eq!(sum(text, "c").to_string(), "0");
    }
}
