//! The reader of PrefEval on small files of our own, and on the published ones where they are.

use std::path::{Path, PathBuf};

use super::*;

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("unspoken-prefeval-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const TEA: &str = r#"[
 {"preference": "No caffeine.", "question": "A drink?", "explanation": "-",
  "classification_task_options": ["Rooibos.", "Espresso.", "Cola.", "Matcha."]}
]"#;

fn read(dir: &Path, forms: &[Form]) -> Result<Vec<Item>, String> {
    read_prefeval(dir, &[], forms).map_err(|e| e.to_string().replace(&dir.display().to_string(), "DIR"))
}

#[test]
fn choices_and_conversations_are_joined() {
    let d = Folder::new("joined");
    d.write("mcq_options/tea.json", TEA);
    d.write(
        "implicit_preference/persona-driven/tea.json",
        r#"[{"preference": "No caffeine.", "question": "A drink?", "persona": "A nurse",
            "conversation": {"0": {"user": "u0", "assistant": "a0"}, "1": {"user": "u1", "assistant": "a1"}}}]"#,
    );
    d.write(
        "implicit_preference/choice-based/tea.json",
        r#"[{"preference": "No caffeine.", "conversation": {"query": "q", "assistant_options": "o",
            "user_selection": "s", "assistant_acknowledgment": "k"}}]"#,
    );
    let items = read(&d.0, &[Form::Persona, Form::Choice]).unwrap();
    let item = &items[0];
    assert_eq!((items.len(), item.id.as_str(), item.topic.as_str(), item.fitting), (1, "tea/1", "tea", 0));
    assert_eq!(item.options, ["Rooibos.", "Espresso.", "Cola.", "Matcha."]);
    let said = |m: &Option<Vec<crate::text::Message>>| {
        m.as_ref().unwrap().iter().map(|m| format!("{}{}", &m.role[..1], m.content)).collect::<Vec<_>>()
    };
    assert_eq!(said(&item.persona), ["uu0", "aa0", "uu1", "aa1"]);
    assert_eq!(said(&item.choice), ["uq", "ao", "us", "ak"]);
    assert!(read(&d.0, &[Form::Explicit]).unwrap()[0].persona.is_none());
}

#[test]
fn errors_name_file_record_and_field() {
    let d = Folder::new("errors");
    let file = "DIR/mcq_options/tea.json";
    let fails = |text: &str, forms: &[Form], expected: &str| {
        d.write("mcq_options/tea.json", text);
        let e = read(&d.0, forms).unwrap_err();
        assert!(e.starts_with(expected), "{e}");
    };
    fails("[\n{\n", &[], &format!("{file}, line 3: EOF"));
    fails("{}", &[], &format!("{file}, line 1: invalid type: map"));
    fails(&TEA.replace("\"No caffeine.\"", "7"), &[], &format!("{file}, record 1, preference: expected text"));
    fails(&TEA.replace("A drink?", " "), &[], &format!("{file}, record 1, question: empty"));
    fails(
        &TEA.replace("classification_task_options", "x"),
        &[],
        &format!("{file}, record 1, classification_task_options: missing"),
    );
    fails(
        &TEA.replace("\"Espresso.\"", "{}"),
        &[],
        &format!("{file}, record 1, classification_task_options/1: expected text"),
    );
    fails("[3]", &[], &format!("{file}, record 1, classification_task_options: missing"));
    fails(TEA, &[Form::Persona], "DIR/implicit_preference/persona-driven/tea.json: ");
    let persona = |text: &str| d.write("implicit_preference/persona-driven/tea.json", text);
    persona("[]");
    let e = read(&d.0, &[Form::Persona]).unwrap_err();
    assert!(e.contains("persona-driven/tea.json, line 1: 0 records, the choices have 1"), "{e}");
    persona(r#"[{"preference": "Tea.", "conversation": {"0": {"user": "u", "assistant": "a"}}}]"#);
    let e = read(&d.0, &[Form::Persona]).unwrap_err();
    assert!(e.ends_with("record 1, preference: is not that of the same record of the choices"), "{e}");
    persona(r#"[{"preference": "No caffeine.", "conversation": {"1": {"user": "u", "assistant": "a"}}}]"#);
    let e = read(&d.0, &[Form::Persona]).unwrap_err();
    assert!(e.ends_with("record 1, conversation/0/user: missing"), "{e}");
    let e = read_prefeval(&d.0, &["coffee".into()], &[]).unwrap_err().to_string();
    assert_eq!(e, "topic \"coffee\" is not there; there are tea");
    let e = read_prefeval(&d.0.join("none"), &[], &[]).unwrap_err();
    assert!(matches!(e, EvalError::Io { .. }));
}

#[test]
fn the_published_files_are_read_whole() {
    let Some(dir) = std::env::var_os("UNSPOKEN_PREFEVAL") else {
        eprintln!("skipped: UNSPOKEN_PREFEVAL names no folder with PrefEval's data");
        return;
    };
    let items = read_prefeval(Path::new(&dir), &[], &[Form::Persona, Form::Choice]).unwrap();
    assert!(items.len() >= 500, "{} items", items.len());
    let mut ids: Vec<&str> = items.iter().map(|i| i.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), items.len());
    for i in &items {
        assert_eq!((i.options.len(), i.fitting), (4, 0), "{}", i.id);
        assert_eq!(i.choice.as_ref().map(Vec::len), Some(4), "{}", i.id);
        assert!(i.persona.as_ref().is_some_and(|m| m.len() >= 4 && m.len() % 2 == 0), "{}", i.id);
    }
}
