//! The instructions of a pickle.

use std::collections::HashMap;

use super::{Global, MAX_NODES, Node, Pickle, Value};
use crate::error::{Error, Result};

/// Fills in what the instructions build.
pub(super) fn execute(pickle: Pickle<'_>) -> Result<Pickle<'_>> {
    let mut machine = Machine {
        pickle,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    machine.run()?;
    Ok(machine.pickle)
}

/// What the instructions work on: a stack with marks, and values to come back to.
struct Machine<'a> {
    pickle: Pickle<'a>,
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn fail(&self, reason: impl Into<String>) -> Error {
        Error::Pickle {
            offset: (self.pickle.base + self.at) as u64,
            reason: reason.into(),
        }
    }

    fn take(&mut self, len: usize) -> Result<usize> {
        let left = self.pickle.bytes.len() - self.at;
        if len > left {
            return Err(Error::Truncated {
                offset: (self.pickle.base + self.at) as u64,
                needed: len as u64,
                available: left as u64,
            });
        }
        let start = self.at;
        self.at += len;
        Ok(start)
    }

    fn uint(&mut self, len: usize) -> Result<usize> {
        let start = self.take(len)?;
        let mut word = [0_u8; 8];
        word[..len].copy_from_slice(&self.pickle.bytes[start..start + len]);
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| self.fail("size overflows"))
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.pickle.bytes[self.at..];
        let len = rest
            .iter()
            .take(1024)
            .position(|&b| b == b'\n')
            .ok_or_else(|| self.fail("no end of line"))?;
        let text = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(text)
    }

    fn push(&mut self, value: Value) -> Result<()> {
        if self.stack.len() >= MAX_NODES {
            return Err(self.fail("stack too large"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Result<()> {
        if self.pickle.nodes.len() >= MAX_NODES {
            return Err(self.fail(format!("more than {MAX_NODES} objects")));
        }
        self.pickle.nodes.push(node);
        self.push(Value::Node(self.pickle.nodes.len() - 1))
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.fail("stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.fail("stack is empty"))
    }

    fn top(&mut self) -> Result<Value> {
        let value = self.pop()?;
        self.stack.push(value);
        Ok(value)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| self.fail("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn bytes(&mut self, width: usize) -> Result<()> {
        let len = self.uint(width)?;
        let start = self.take(len)?;
        self.push_node(Node::Bytes { start, len })
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let len = self.uint(width)?;
        let start = self.take(len)?;
        self.push_node(Node::Text { start, len })
    }

    fn tuple(&mut self, len: usize) -> Result<()> {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_node(Node::Tuple(items))
    }

    fn long(&mut self, len: usize) -> Result<()> {
        let start = self.take(len)?;
        let bytes = &self.pickle.bytes[start..start + len];
        if len <= 8 {
            let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) {
                0xff
            } else {
                0
            };
            let mut word = [fill; 8];
            word[..len].copy_from_slice(bytes);
            return self.push(Value::Int(i64::from_le_bytes(word)));
        }
        if len > 64 {
            return Err(self.fail("integer of more than 64 bytes"));
        }
        let bytes = bytes.to_vec();
        self.push_node(Node::Big(bytes))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::find(module, name) {
            Some(global) => self.push_node(Node::Global(global)),
            None => Err(Error::ForbiddenGlobal {
                offset: (self.pickle.base + self.at) as u64,
                name: format!("{module}.{name}"),
            }),
        }
    }

    fn call(&mut self) -> Result<()> {
        let args = self.pop()?;
        let callee = self.pop()?;
        let class = self
            .pickle
            .global(callee)
            .ok_or_else(|| self.fail("call of something not a class"))?;
        if self.pickle.sequence(args).is_none() {
            return Err(self.fail("arguments are not a tuple"));
        }
        self.push_node(Node::Object {
            class,
            args,
            state: Value::None,
            items: Vec::new(),
            pairs: Vec::new(),
        })
    }

    fn top_node(&mut self) -> Result<&mut Node> {
        let top = self.top()?;
        let error = self.fail("not a container");
        match top {
            Value::Node(index) => self.pickle.nodes.get_mut(index).ok_or(error),
            _ => Err(error),
        }
    }

    fn extend(&mut self, new: Vec<Value>) -> Result<()> {
        let error = self.fail("append to something not a list");
        match self.top_node()? {
            Node::List(items) | Node::Object { items, .. } => items.extend(new),
            _ => return Err(error),
        }
        Ok(())
    }

    fn set_items(&mut self, new: &[Value]) -> Result<()> {
        let error = self.fail("items set on something not a dict, or a key without a value");
        if !new.len().is_multiple_of(2) {
            return Err(error);
        }
        match self.top_node()? {
            Node::Dict(pairs) | Node::Object { pairs, .. } => {
                pairs.extend(new.chunks_exact(2).map(|p| (p[0], p[1])));
            }
            _ => return Err(error),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let value = self.top()?;
        if self.memo.len() >= MAX_NODES {
            return Err(self.fail("memo too large"));
        }
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        let value = *self
            .memo
            .get(&key)
            .ok_or_else(|| self.fail(format!("memo {key} is not set")))?;
        self.push(value)
    }

    fn key(&mut self, width: usize) -> Result<u32> {
        u32::try_from(self.uint(width)?).map_err(|_| self.fail("memo key overflows"))
    }

    fn run(&mut self) -> Result<()> {
        loop {
            let at = self.take(1)?;
            match self.pickle.bytes[at] {
                b'.' => {
                    self.pickle.root = self.pop()?;
                    self.pickle.end = self.at;
                    return Ok(());
                }
                code => self.step(code)?,
            }
        }
    }

    #[allow(clippy::too_many_lines)]
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => {
                let protocol = self.uint(1)?;
                if !(2..=5).contains(&protocol) {
                    return Err(self.fail(format!("protocol {protocol}; 2 to 5 are read")));
                }
                Ok(())
            }
            0x95 => self.take(8).map(|_| ()),
            b'(' => {
                if self.marks.len() >= MAX_NODES {
                    return Err(self.fail("too many marks"));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let v = self.uint(1)?;
                self.push(Value::Int(v.cast_signed() as i64))
            }
            b'M' => {
                let v = self.uint(2)?;
                self.push(Value::Int(v.cast_signed() as i64))
            }
            b'J' => {
                let start = self.take(4)?;
                let mut word = [0; 4];
                word.copy_from_slice(&self.pickle.bytes[start..start + 4]);
                self.push(Value::Int(i32::from_le_bytes(word).into()))
            }
            0x8a => {
                let len = self.uint(1)?;
                self.long(len)
            }
            0x8b => {
                let len = self.uint(4)?;
                self.long(len)
            }
            b'G' => {
                let start = self.take(8)?;
                let mut word = [0; 8];
                word.copy_from_slice(&self.pickle.bytes[start..start + 8]);
                self.push(Value::Float(f64::from_be_bytes(word)))
            }
            b'B' | b'T' => self.bytes(4),
            b'C' | b'U' => self.bytes(1),
            0x8e | 0x96 => self.bytes(8),
            b'X' => self.text(4),
            0x8c => self.text(1),
            0x8d => self.text(8),
            b']' | 0x8f => self.push_node(Node::List(Vec::new())),
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b')' => self.push_node(Node::Tuple(Vec::new())),
            b'l' | b't' | 0x91 => {
                let items = self.pop_mark()?;
                self.push_node(if code == b't' {
                    Node::Tuple(items)
                } else {
                    Node::List(items)
                })
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push_node(Node::Dict(Vec::new()))?;
                self.set_items(&items)
            }
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let text = |v| self.pickle.text(v).map(str::to_owned);
                let names = text(module).zip(text(name));
                let (module, name) = names.ok_or_else(|| self.fail("global without a name"))?;
                self.global(&module, &name)
            }
            b'R' | 0x81 => self.call(),
            b'b' => {
                let new = self.pop()?;
                let error = self.fail("state set on something not an object");
                match self.top_node()? {
                    Node::Object { state, .. } => *state = new,
                    _ => return Err(error),
                }
                Ok(())
            }
            b'q' => {
                let key = self.key(1)?;
                self.remember(key)
            }
            b'r' => {
                let key = self.key(4)?;
                self.remember(key)
            }
            0x94 => {
                let key =
                    u32::try_from(self.memo.len()).map_err(|_| self.fail("memo overflows"))?;
                self.remember(key)
            }
            b'h' => {
                let key = self.key(1)?;
                self.recall(key)
            }
            b'j' => {
                let key = self.key(4)?;
                self.recall(key)
            }
            b'Q' => {
                let id = self.pop()?;
                self.push_node(Node::Persistent(id))
            }
            0x98 => Ok(()),
            other => Err(self.fail(format!("instruction 0x{other:02x} is not read"))),
        }
    }
}
