//! Pages of one's own for what cannot be answered otherwise.

use std::sync::Arc;

/// The pages of a route, or of the whole file, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages(Vec<(Statuses, Arc<Page>)>);

/// Which statuses a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// Those with this first digit: 4 or 5.
    Class(u16),
}

/// What is answered in the place of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// A text of the file.
    Text(TextPage),
    /// What another route or upstream answers.
    Answer(AnswerPage),
}

/// A page that is in the file, or was read with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPage {
    /// What it consists of.
    pub pieces: Vec<PagePiece>,
    /// Its media type.
    pub content_type: String,
}

/// A page that somebody is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPage {
    /// Who is asked.
    pub by: AnsweredBy,
    /// What the client sees of its status.
    pub status: PageStatus,
}

/// Who answers in the place of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The route that takes a GET of this path, which may have a query.
    Path(String),
    /// The nodes of the upstream of this name, to the request itself.
    Upstream(String),
}

/// The status of an answer that comes in the place of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStatus {
    /// That of the fault.
    OfFault,
    /// Whatever is answered.
    Own,
    /// This one.
    Is(u16),
}

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagePiece {
    /// Itself.
    Text(String),
    /// `{status}`: 404.
    Status,
    /// `{reason}`: Not Found.
    Reason,
    /// `{request_id}`.
    RequestId,
}

impl Statuses {
    /// Reads `404` or `5xx`.
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ if text.len() != 3 => None,
            _ => text.parse().ok().filter(|status| (400..600).contains(status)).map(Self::One),
        }
    }
}

impl TextPage {
    /// Finds the variables in a text. Other braces are its own, for a page has styles and scripts in it.
    pub fn of(text: &str, content_type: String) -> Self {
        let mut pieces = Vec::new();
        let add_text = |pieces: &mut Vec<PagePiece>, text: &str| match pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(PagePiece::Text(last)) => last.push_str(text),
            _ => pieces.push(PagePiece::Text(text.to_owned())),
        };
        // From brace to brace, for a page of a megabyte may have one in every place.
        for (number, part) in text.split('{').enumerate() {
            if number == 0 {
                add_text(&mut pieces, part);
                continue;
            }
            let found = VARIABLES.iter().find_map(|(name, piece)| Some((part.strip_prefix(*name)?, piece)));
            if let Some((_, piece)) = found {
                pieces.push(piece.clone());
            } else {
                add_text(&mut pieces, "{");
            }
            add_text(&mut pieces, found.map_or(part, |(rest, _)| rest));
        }
        Self { pieces, content_type }
    }

    /// It holds `{request_id}`, so that a request that is answered with it has to have one.
    pub fn tells_id(&self) -> bool {
        self.pieces.contains(&PagePiece::RequestId)
    }
}

impl ErrorPages {
    /// Those of a table.
    pub fn new(pages: Vec<(Statuses, Arc<Page>)>) -> Self {
        Self(pages)
    }

    /// The page for a status: one of its own before that of its class.
    pub fn find(&self, status: u16) -> Option<&Page> {
        let of = |wanted: Statuses| self.0.iter().find(|(statuses, _)| *statuses == wanted);
        of(Statuses::One(status)).or_else(|| of(Statuses::Class(status / 100))).map(|(_, page)| &**page)
    }

    /// These, and where there is none for a status or its class, those of `others`.
    pub fn before(&self, others: &Self) -> Self {
        let mut pages = self.0.clone();
        for (statuses, page) in &others.0 {
            let is_said = |(known, _): &(Statuses, _)| match statuses {
                Statuses::One(status) => *known == *statuses || *known == Statuses::Class(status / 100),
                Statuses::Class(_) => known == statuses,
            };
            if !self.0.iter().any(is_said) {
                pages.push((*statuses, page.clone()));
            }
        }
        Self(pages)
    }

    /// The names of the upstreams that answer in the place of a fault.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, page)| match &**page {
            Page::Answer(AnswerPage { by: AnsweredBy::Upstream(name), .. }) => Some(&**name),
            Page::Answer(AnswerPage { by: AnsweredBy::Path(_), .. }) | Page::Text(_) => None,
        })
    }

    /// Whether each fault is answered by tidelock's own page.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Behind their opening brace.
const VARIABLES: [(&str, PagePiece); 3] =
    [("status}", PagePiece::Status), ("reason}", PagePiece::Reason), ("request_id}", PagePiece::RequestId)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_styles_are_text() {
        let page = TextPage::of("a{b:c}{status} {reason}{x}{{request_id}", String::new());
        let text = |text: &str| PagePiece::Text(text.to_owned());
        let want = [
            text("a{b:c}"),
            PagePiece::Status,
            text(" "),
            PagePiece::Reason,
            text("{x}{"),
            PagePiece::RequestId,
        ];
        assert_eq!(page.pieces, want);
        assert!(page.tells_id());
    }

    #[test]
    fn a_status_beats_its_class_and_a_route_the_file() {
        let page = |text: &str| Arc::new(Page::Text(TextPage::of(text, String::new())));
        let pages = |pages: &[(&str, &str)]| {
            let read = |(statuses, text): &(&str, &str)| (Statuses::read(statuses).unwrap(), page(text));
            ErrorPages::new(pages.iter().map(read).collect())
        };
        let file =
            pages(&[("4xx", "file 4xx"), ("404", "file 404"), ("503", "file 503"), ("5xx", "file 5xx")]);
        let route = pages(&[("4xx", "route 4xx"), ("502", "route 502")]);
        let both = route.before(&file);
        for (status, want) in
            [(404, "route 4xx"), (400, "route 4xx"), (502, "route 502"), (503, "file 503"), (500, "file 5xx")]
        {
            assert_eq!(both.find(status), Some(&*page(want)), "{status}");
        }
        for wrong in
            ["200", "4x", "xxx", "44", "4xxx", "600", "3xx", "04xx", "4XX", "+44", "+4xx", "004", "5"]
        {
            assert_eq!(Statuses::read(wrong), None, "{wrong}");
        }
    }
}
