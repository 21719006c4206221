//! The modules as a picture: boxes in rows, an arrow from each module to what it imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::graph::Import;

/// Modules of one file each that nearly everything imports; one box stands for all of them.
const GROUND: usize = 10;
const GROUND_NAME: &str = "ground";

const BOX_WIDTH: usize = 108;
const BOX_HEIGHT: usize = 34;
const ROW_GAP: usize = 40;
const COLUMN_GAP: usize = 24;
const MARGIN: usize = 20;

/// An SVG of the modules in `order` (from the ground up): what imports stands above what is imported. An arrow that
/// follows from two others is left out.
pub fn svg(order: &[&str], imports: &[Import]) -> String {
    let name = |module: &str| if order[..GROUND].contains(&module) { GROUND_NAME.to_string() } else { module.into() };
    let edges: BTreeSet<(String, String)> =
        imports.iter().map(|import| (name(&import.from), name(&import.to))).filter(|(from, to)| from != to).collect();
    let nodes: Vec<&str> = std::iter::once(GROUND_NAME).chain(order[GROUND..].iter().copied()).collect();
    let rows = rows(&nodes, &edges);
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let width = 2 * MARGIN + widest * BOX_WIDTH + (widest - 1) * COLUMN_GAP;
    let height = 2 * MARGIN + rows.len() * BOX_HEIGHT + (rows.len() - 1) * ROW_GAP;
    let mut places = BTreeMap::new();
    for (floor, row) in rows.iter().enumerate() {
        let row_width = row.len() * BOX_WIDTH + (row.len() - 1) * COLUMN_GAP;
        for (column, node) in row.iter().enumerate() {
            let x = (width - row_width) / 2 + column * (BOX_WIDTH + COLUMN_GAP);
            places.insert(*node, (x, height - MARGIN - BOX_HEIGHT - floor * (BOX_HEIGHT + ROW_GAP)));
        }
    }
    draw((width, height), &places, &direct(&edges), &order[..GROUND].join(", "))
}

/// Each node one row above the highest of those it imports.
fn rows<'a>(nodes: &[&'a str], edges: &BTreeSet<(String, String)>) -> Vec<Vec<&'a str>> {
    let mut floors: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows: Vec<Vec<&str>> = Vec::new();
    // In the order of the floors everything that a node imports has its row already.
    for node in nodes {
        let imported = edges.iter().filter(|(from, _)| from == node).filter_map(|(_, to)| floors.get(to.as_str()));
        let floor = imported.max().map_or(0, |highest| highest + 1);
        floors.insert(node, floor);
        if rows.len() <= floor {
            rows.resize(floor + 1, Vec::new());
        }
        rows[floor].push(node);
    }
    rows
}

/// The edges that no longer way implies.
fn direct(edges: &BTreeSet<(String, String)>) -> Vec<(String, String)> {
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_string()]);
        while let Some(at) = open.pop() {
            for (_, next) in edges.iter().filter(|(a, _)| *a == at) {
                if next == to {
                    return true;
                }
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        false
    };
    let implied = |(from, to): &&(String, String)| {
        edges.iter().any(|(a, between)| a == from && between != to && reaches(between, to))
    };
    edges.iter().filter(|edge| !implied(edge)).cloned().collect()
}

fn draw(
    (width, height): (usize, usize),
    places: &BTreeMap<&str, (usize, usize)>,
    edges: &[(String, String)],
    ground: &str,
) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" role=\"img\">\n<title>Modules of the library; arrows lead to what is imported</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#57606a\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (from, to) in edges {
        let (Some((from_x, from_y)), Some((to_x, to_y))) = (places.get(from.as_str()), places.get(to.as_str())) else {
            continue;
        };
        let (x1, y1) = (from_x + BOX_WIDTH / 2, from_y + BOX_HEIGHT);
        let (x2, y2) = (to_x + BOX_WIDTH / 2, *to_y);
        let bend = (y2 - y1) / 2;
        let _ = writeln!(
            svg,
            "<path d=\"M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}\" fill=\"none\" stroke=\"#8c959f\" marker-end=\"url(#tip)\"/>",
            y1 + bend,
            y2 - bend
        );
    }
    for (node, (x, y)) in places {
        let (text_x, text_y) = (x + BOX_WIDTH / 2, y + BOX_HEIGHT / 2 + 5);
        let about = if *node == GROUND_NAME { format!("<title>{ground}</title>") } else { String::new() };
        let _ = writeln!(
            svg,
            "<g>{about}<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\" \
             fill=\"#ddf4ff\" stroke=\"#0969da\"/><text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"middle\" \
             fill=\"#1f2328\">{node}</text></g>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}
