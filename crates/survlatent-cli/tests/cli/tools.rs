//! Programs of the system that tests use where they are there, and must use where the variable
//! `SURVLATENT_TEST_TOOLS` is set, as `.ci/run` does.

use std::path::Path;
use std::process::{Command, Output};

/// Says that something was not tested, or fails where it has to be.
pub(crate) fn missing(what: &str) {
    let must = std::env::var_os("SURVLATENT_TEST_TOOLS").is_some();
    assert!(!must, "{what}, and SURVLATENT_TEST_TOOLS is set");
    #[allow(clippy::print_stderr, reason = "what was not tested is said")]
    {
        eprintln!("skipped: {what}");
    }
}

fn runs(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).output();
    output.is_ok_and(|o| o.status.success())
}

/// Runs the program where there is no network (an empty network namespace), with its system calls about
/// networks written down (`strace`); with one of both where the system lets us have no more, and not at
/// all where it lets us have none.
pub(crate) fn without_network(folder: &Path, line: &str) -> Option<Output> {
    let mut words: Vec<&str> = Vec::new();
    if runs("unshare", &["-rn", "true"]) {
        words.extend(["unshare", "-rn"]);
    } else if runs("unshare", &["-n", "true"]) {
        words.extend(["unshare", "-n"]);
    }
    let log = folder.join("calls.txt");
    let name = log.to_str().expect("UTF-8");
    let traced = runs("strace", &["-f", "-e", "trace=network", "-o", name, "true"]);
    if traced {
        words.extend(["strace", "-f", "-e", "trace=network", "-o", name]);
    }
    let Some((first, rest)) = words.split_first() else {
        missing("neither a network namespace nor strace is to be had");
        return None;
    };
    let output = Command::new(first)
        .args(rest)
        .arg(env!("CARGO_BIN_EXE_survlatent"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("it starts");
    if traced {
        let calls = std::fs::read_to_string(&log).expect("calls");
        assert!(calls.contains("+++ exited with 0 +++"), "{calls}");
        let calls: Vec<&str> = calls.lines().filter(|c| c.contains("AF_INET")).collect();
        assert!(calls.is_empty(), "{calls:?}");
    }
    Some(output)
}

/// What a browser makes of a page: width of the window, of the page, and pictures that are missing, for a
/// window of 390 and one of 1280 pixels.
#[derive(Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) window: u64,
    pub(crate) page: u64,
    pub(crate) pictures: u64,
    pub(crate) missing: u64,
}

/// The page in a headless Chromium, in frames of both widths: its own windows are not that narrow.
pub(crate) fn measured(page: &str) -> Option<[Measured; 2]> {
    let mut names = ["chromium", "chromium-browser", "google-chrome"].into_iter();
    let Some(browser) = names.find(|name| runs(name, &["--version"])) else {
        missing("there is no Chromium");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let script = "addEventListener('load',()=>{document.getElementById('found').textContent=\
                  JSON.stringify([...document.querySelectorAll('iframe')].map(f=>{\
                  const d=f.contentDocument,all=[...d.images];\
                  return[f.contentWindow.innerWidth,d.documentElement.scrollWidth,all.length,\
                  all.filter(i=>!i.complete||!i.naturalWidth).length]}))})";
    let frame = |width: u32| {
        format!(
            "<iframe width=\"{width}\" height=\"900\" style=\"border:0\" srcdoc=\"{page}\"></iframe>"
        )
    };
    let wrapper = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><p id=\"found\">none</p><script>{script}</script>{}{}",
        frame(390),
        frame(1280)
    );
    let path = folder.path().join("page.html");
    std::fs::write(&path, wrapper).expect("a file");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("user").display()
        ))
        .arg("--dump-dom")
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("it starts");
    let dom = String::from_utf8_lossy(&output.stdout);
    let found = dom
        .split_once("<p id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</p>"))
        .map(|(found, _)| found);
    let found: Vec<[u64; 4]> = found
        .and_then(|f| serde_json::from_str(f).ok())
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let of = |[window, page, pictures, missing]: [u64; 4]| Measured {
        window,
        page,
        pictures,
        missing,
    };
    let [narrow, wide] = found[..] else {
        panic!("{found:?}");
    };
    Some([of(narrow), of(wide)])
}

/// Asserts that a page fits windows of both widths and shows every picture; tells how many there are.
#[track_caller]
pub(crate) fn fits(page: &str) {
    for found in measured(page).into_iter().flatten() {
        assert!(
            found.page <= found.window && found.missing == 0,
            "{found:?}"
        );
        assert_eq!(found.pictures as usize, page.matches("<img ").count());
    }
}

#[test]
fn a_page_that_is_too_wide_or_lacks_a_picture_is_found_out() {
    let page = "<!DOCTYPE html><html><body style=\"margin:0\"><div style=\"width:500px\">&amp;</div>\
                <img src=\"data:image/png;base64,AAAA\" alt=\"\"></body></html>";
    let Some([narrow, wide]) = measured(page) else {
        return;
    };
    let of = |window, page| Measured {
        window,
        page,
        pictures: 1,
        missing: 1,
    };
    assert_eq!((narrow, wide), (of(390, 500), of(1280, 1280)));
}
