//! A reader of Python pickles that executes nothing.
//!
//! Instructions build a tree of plain data. Classes and functions are taken from an allow-list
//! and kept as *names with arguments*: calling them is a matter of the readers that know what a
//! tensor or a network is. Everything lives in one arena, so that neither a deep nor a cyclic
//! structure can exhaust the stack, and the number of nodes is bounded.

mod machine;

use crate::error::Result;

/// A value; compound ones are in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Node(usize),
}

/// A compound value. Byte strings are positions in the file.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Bytes {
        start: usize,
        len: usize,
    },
    Text {
        start: usize,
        len: usize,
    },
    Big(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Global(Global),
    /// `class(*args)` with what was later assigned to it.
    Object {
        class: Global,
        args: Value,
        state: Value,
        items: Vec<Value>,
        pairs: Vec<(Value, Value)>,
    },
    Persistent(Value),
}

macro_rules! globals {
    ($($variant:ident: $($module:literal . $name:literal)|+;)*) => {
        /// The classes and functions a network file may name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Global { $($variant),* }

        impl Global {
            #[allow(clippy::unnested_or_patterns)]
            fn find(module: &str, name: &str) -> Option<Self> {
                match (module, name) {
                    $($(($module, $name))|+ => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

globals! {
    PersistentObject: "torch_utils.persistence"."_reconstruct_persistent_obj";
    EasyDict: "dnnlib.util"."EasyDict" | "dnnlib"."EasyDict";
    OrderedDict: "collections"."OrderedDict";
    DefaultDict: "collections"."defaultdict";
    Set: "builtins"."set" | "__builtin__"."set";
    FrozenSet: "builtins"."frozenset" | "__builtin__"."frozenset";
    Dict: "builtins"."dict" | "__builtin__"."dict";
    Namespace: "argparse"."Namespace";
    Encode: "_codecs"."encode";
    RebuildParameter: "torch._utils"."_rebuild_parameter";
    RebuildTensor: "torch._utils"."_rebuild_tensor_v2";
    LoadFromBytes: "torch.storage"."_load_from_bytes";
    Size: "torch"."Size";
    Device: "torch"."device";
    FloatStorage: "torch"."FloatStorage";
    DoubleStorage: "torch"."DoubleStorage";
    HalfStorage: "torch"."HalfStorage";
    Bfloat16Storage: "torch"."BFloat16Storage";
    LongStorage: "torch"."LongStorage";
    IntStorage: "torch"."IntStorage";
    ShortStorage: "torch"."ShortStorage";
    CharStorage: "torch"."CharStorage";
    ByteStorage: "torch"."ByteStorage";
    BoolStorage: "torch"."BoolStorage";
    NumpyScalar: "numpy.core.multiarray"."scalar" | "numpy._core.multiarray"."scalar";
    NumpyReconstruct: "numpy.core.multiarray"."_reconstruct" | "numpy._core.multiarray"."_reconstruct";
    NumpyArray: "numpy"."ndarray";
    NumpyDtype: "numpy"."dtype";
    TflibNetwork: "dnnlib.tflib.network"."Network";
}

/// Real files have a few ten thousand.
const MAX_NODES: usize = 1 << 20;

/// The tree a pickle describes.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    bytes: &'a [u8],
    /// Position of `bytes[0]` in the file, for messages and storages.
    base: usize,
    nodes: Vec<Node>,
    /// The result.
    pub(crate) root: Value,
    /// Position after the STOP instruction, relative to `bytes`.
    pub(crate) end: usize,
}

impl<'a> Pickle<'a> {
    /// Reads one pickle from the start of `bytes`, which are at `base` in the file.
    pub(crate) fn parse(bytes: &'a [u8], base: usize) -> Result<Self> {
        let pickle = Self {
            bytes,
            base,
            nodes: Vec::new(),
            root: Value::None,
            end: 0,
        };
        machine::execute(pickle)
    }

    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&'a str> {
        match self.node(value)? {
            &Node::Text { start, len } | &Node::Bytes { start, len } => {
                std::str::from_utf8(self.bytes.get(start..start + len)?).ok()
            }
            _ => None,
        }
    }

    /// Bytes and their position in the file; `None` as position if they had to be decoded.
    pub(crate) fn bytes(
        &self,
        value: Value,
    ) -> Option<(std::borrow::Cow<'a, [u8]>, Option<usize>)> {
        match self.node(value)? {
            &Node::Bytes { start, len } => {
                let bytes = self.bytes.get(start..start + len)?;
                Some((bytes.into(), Some(self.base + start)))
            }
            // Protocol 2 has no byte strings: they are Latin-1 text to be encoded.
            Node::Object {
                class: Global::Encode,
                args,
                ..
            } => {
                let args = self.sequence(*args)?;
                let text = self.text(*args.first()?)?;
                let encoding = args.get(1).and_then(|&e| self.text(e))?;
                if !encoding.starts_with("latin") {
                    return None;
                }
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                Some((bytes?.into(), None))
            }
            _ => None,
        }
    }

    /// The node that holds the characters of [`bytes`](Self::bytes), and whether they are to be
    /// decoded: the same for all values that refer to it.
    pub(crate) fn characters(&self, value: Value) -> Option<(usize, bool)> {
        let (held, decoded) = match self.node(value)? {
            Node::Bytes { .. } => (value, false),
            Node::Object {
                class: Global::Encode,
                args,
                ..
            } => (*self.sequence(*args)?.first()?, true),
            _ => return None,
        };
        match held {
            Value::Node(index) => Some((index, decoded)),
            _ => None,
        }
    }

    pub(crate) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(v) | Node::Tuple(v) => Some(v),
            Node::Object {
                class: Global::Size,
                args,
                ..
            } => {
                let inner = self.sequence_plain(*args)?;
                self.sequence_plain(*inner.first()?)
            }
            _ => None,
        }
    }

    fn sequence_plain(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(v) | Node::Tuple(v) => Some(v),
            _ => None,
        }
    }

    /// The entries of a dict or of an object that is one.
    pub(crate) fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(pairs)
            | Node::Object {
                class: Global::OrderedDict | Global::EasyDict | Global::DefaultDict | Global::Dict,
                pairs,
                ..
            } => Some(pairs),
            Node::Object {
                class: Global::Namespace,
                state,
                ..
            } => match self.node(*state)? {
                Node::Dict(pairs) => Some(pairs),
                _ => None,
            },
            _ => None,
        }
    }

    /// The entry `key` of a dict; the last one wins, as in Python.
    pub(crate) fn get(&self, dict: Value, key: &str) -> Option<Value> {
        let entries = self.entries(dict)?;
        entries
            .iter()
            .rev()
            .find(|(k, _)| self.text(*k) == Some(key))
            .map(|&(_, v)| v)
    }

    pub(crate) fn unsigned(&self, value: Value) -> Option<usize> {
        match value {
            Value::Int(i) => usize::try_from(i).ok(),
            Value::Float(f) if f >= 0.0 && f.fract() == 0.0 && f < 1e15 =>
            {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                Some(f as usize)
            }
            _ => self
                .scalar(value)
                .and_then(|v| self.unsigned(Value::Float(v))),
        }
    }

    pub(crate) fn number(&self, value: Value) -> Option<f64> {
        match value {
            #[allow(clippy::cast_precision_loss)]
            Value::Int(i) => Some(i as f64),
            Value::Float(f) => Some(f),
            Value::Bool(b) => Some(f64::from(u8::from(b))),
            _ => self.scalar(value),
        }
    }

    /// A numpy scalar.
    fn scalar(&self, value: Value) -> Option<f64> {
        let Node::Object {
            class: Global::NumpyScalar,
            args,
            ..
        } = self.node(value)?
        else {
            return None;
        };
        let args = self.sequence(*args)?;
        let kind = self.dtype(*args.first()?)?;
        let data = *args.get(1)?;
        // Eight characters of Latin-1: nothing longer is worth decoding.
        match self.nodes.get(self.characters(data)?.0)? {
            Node::Bytes { len, .. } | Node::Text { len, .. } if *len <= 16 => {}
            _ => return None,
        }
        let (data, _) = self.bytes(data)?;
        let data: &[u8] = &data;
        Some(match kind {
            "f8" => f64::from_le_bytes(data.try_into().ok()?),
            "f4" => f32::from_le_bytes(data.try_into().ok()?).into(),
            #[allow(clippy::cast_precision_loss)]
            "i8" => i64::from_le_bytes(data.try_into().ok()?) as f64,
            "i4" => i32::from_le_bytes(data.try_into().ok()?).into(),
            _ => return None,
        })
    }

    /// The name of a little-endian numpy type.
    pub(crate) fn dtype(&self, value: Value) -> Option<&'a str> {
        let Node::Object {
            class: Global::NumpyDtype,
            args,
            state,
            ..
        } = self.node(value)?
        else {
            return None;
        };
        let name = self.text(*self.sequence(*args)?.first()?)?;
        let order = self
            .sequence(*state)
            .and_then(|s| s.get(1))
            .and_then(|&o| self.text(o));
        (order != Some(">")).then_some(name)
    }

    /// Class, arguments and state of an object.
    pub(crate) fn object(&self, value: Value) -> Option<(Global, Value, Value)> {
        match self.node(value)? {
            &Node::Object {
                class, args, state, ..
            } => Some((class, args, state)),
            _ => None,
        }
    }

    /// All persistent ids.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Value> + '_ {
        self.nodes.iter().filter_map(|node| match node {
            &Node::Persistent(id) => Some(id),
            _ => None,
        })
    }

    pub(crate) fn global(&self, value: Value) -> Option<Global> {
        match self.node(value)? {
            &Node::Global(g) => Some(g),
            _ => None,
        }
    }

    pub(crate) fn describe(&self, value: Value) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(b) => if b { "True" } else { "False" }.to_owned(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => f.to_string(),
            Value::Node(_) => match self.node(value) {
                Some(Node::Text { .. }) => {
                    let text = self.text(value).unwrap_or("");
                    format!("'{}'", text.chars().take(40).collect::<String>())
                }
                Some(Node::Bytes { len, .. }) => format!("{len} bytes"),
                Some(Node::Big(_)) => "a large integer".to_owned(),
                Some(Node::List(v)) => format!("a list of {}", v.len()),
                Some(Node::Tuple(v)) => format!("a tuple of {}", v.len()),
                Some(Node::Dict(v)) => format!("a dict of {}", v.len()),
                Some(Node::Global(g) | Node::Object { class: g, .. }) => format!("{g:?}"),
                Some(Node::Persistent(_)) => "a storage".to_owned(),
                None => "nothing".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn plain_data() {
        // pickle.dumps({'a': [1, 2.5, None, True], 'b': (b'xy', -3)}, 4)
        let bytes = b"\x80\x04}(\x8c\x01a](K\x01G@\x04\0\0\0\0\0\0N\x88e\x8c\x01bC\x02xyJ\xfd\xff\xff\xff\x86u.";
        let p = Pickle::parse(bytes, 0).unwrap();
        let a = p.get(p.root, "a").unwrap();
        let expected = [
            Value::Int(1),
            Value::Float(2.5),
            Value::None,
            Value::Bool(true),
        ];
        assert_eq!(p.sequence(a).unwrap(), expected);
        let b = p.sequence(p.get(p.root, "b").unwrap()).unwrap().to_vec();
        assert_eq!(&*p.bytes(b[0]).unwrap().0, b"xy");
        assert_eq!(b[1], Value::Int(-3));
        assert_eq!(p.end, bytes.len());
    }

    #[test]
    fn latin_1_text_becomes_bytes_only_on_request() {
        let p = Pickle::parse(
            b"\x80\x02c_codecs\nencode\nX\x03\0\0\0a\xc3\xbfX\x06\0\0\0latin1\x86R.",
            0,
        );
        let p = p.unwrap();
        let (bytes, position) = p.bytes(p.root).unwrap();
        assert_eq!((&*bytes, position), (&b"a\xff"[..], None));
    }

    #[test]
    fn code_is_refused_by_name() {
        for bytes in [
            &b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R."[..],
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        ] {
            let error = Pickle::parse(bytes, 0).unwrap_err();
            assert!(
                matches!(&error, Error::ForbiddenGlobal { name, .. } if name == "os.system"),
                "{error}"
            );
        }
    }

    #[test]
    fn malformed_streams_are_errors() {
        let cases: [&[u8]; 11] = [
            b"",
            b".",
            b"\x80\x07.",
            b"\x80\x04B\xff\xff\xff\xff",
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\x04u.",
            b"\x80\x04]K\x01s.",
            b"\x80\x04h\x05.",
            b"\x80\x04K\x01K\x02R.",
            b"\x80\x04(K\x01",
            b"\x80\x04\x8b\xff\xff\xff\x7f.",
        ];
        for bytes in cases {
            assert!(Pickle::parse(bytes, 0).is_err(), "{bytes:?}");
        }
        // A mark left below the root is no harm: Python's own reader takes it too.
        let p = Pickle::parse(b"\x80\x04(K\x01\x85.", 0).unwrap();
        assert_eq!(p.sequence(p.root).unwrap(), [Value::Int(1)]);
        // A deep structure is data like any other and must not overflow the stack when dropped.
        let mut deep = vec![0x80, 4, b')'];
        deep.resize(900_000, 0x85);
        deep.push(b'.');
        assert!(Pickle::parse(&deep, 0).is_ok());
        deep.splice(3..3, vec![0x85; 1 << 20]);
        assert!(Pickle::parse(&deep, 0).is_err());
    }
}
