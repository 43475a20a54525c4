//! The stack machine: what each instruction of a pickle does to the values.

use super::known::known;
use super::{Data, Global, Tensor, Value};
use crate::weights::FileDType;
use crate::weights::error::Fault;
use std::collections::HashMap;

/// Values on the stack, remembered, or built.
pub(super) const MOST_VALUES: usize = 1 << 22;

/// A mark on the stack is kept apart, as the height at which it was set.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Vec<Data<'a>>,
    heap_values: usize,
}

const CUT: &str = "its pickle is cut short";
const UNDERFLOW: &str = "its pickle takes more values than it has made";

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            heap: Vec::new(),
            heap_values: 0,
        }
    }

    /// Runs the program: the value it ends with, and the heap that value's handles point into.
    pub(super) fn finish(mut self) -> Result<(Value<'a>, Vec<Data<'a>>), Fault> {
        let top = self.run()?;
        Ok((top, self.heap))
    }

    fn run(&mut self) -> Result<Value<'a>, Fault> {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            if self.stack.len() + self.marks.len() + self.memo.len() + self.heap_values > MOST_VALUES {
                return Err("its pickle builds too many values for a list of tensors".into());
            }
        }
    }

    /// Carries out one opcode. The names in the comments are Python's (`pickletools`).
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            0x80 => self.take(1).map(drop)?,                                  // PROTO
            0x95 => self.take(8).map(drop)?,                                  // FRAME
            b'(' => self.marks.push(self.stack.len()),                        // MARK
            b'0' => self.pop_or_mark()?,                                      // POP
            b'1' => self.pop_mark().map(drop)?,                               // POP_MARK
            b'2' => self.top().map(|v| self.stack.push(v))?,                  // DUP
            b'N' => self.stack.push(Value::None),                             // NONE
            0x88 => self.stack.push(Value::Bool(true)),                       // NEWTRUE
            0x89 => self.stack.push(Value::Bool(false)),                      // NEWFALSE
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(opcode)?, // BININT, BININT1, BININT2, LONG1, LONG4
            b'G' => self.opaque(8)?,                                   // BINFLOAT
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(opcode)?, // BINUNICODE, SHORT_, 8; BINSTRING, SHORT_
            b'B' | b'C' | 0x8e | 0x96 => self.byte_string(opcode)?, // BINBYTES, SHORT_, 8; BYTEARRAY8
            b']' => self.push(Data::List(Vec::new())),              // EMPTY_LIST
            b')' => self.push(Data::List(Vec::new())),              // EMPTY_TUPLE
            b'}' => self.push(Data::Dict(Vec::new())),              // EMPTY_DICT
            0x8f => self.stack.push(Value::Opaque),                 // EMPTY_SET
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?, // TUPLE1, TUPLE2, TUPLE3
            b't' | b'l' => self.list_from_mark()?,                  // TUPLE, LIST
            b'd' => self.dict_from_mark()?,                         // DICT
            0x91 => self.pop_mark().map(|_| self.stack.push(Value::Opaque))?, // FROZENSET
            b'a' => self.append()?,                                 // APPEND
            b'e' | 0x90 => self.appends()?,                         // APPENDS, ADDITEMS
            b's' => self.set_item()?,                               // SETITEM
            b'u' => self.set_items()?,                              // SETITEMS
            b'q' | b'r' => self.put(opcode)?,                       // BINPUT, LONG_BINPUT
            0x94 => self.memoize()?,                                // MEMOIZE
            b'h' | b'j' => self.get(opcode)?,                       // BINGET, LONG_BINGET
            b'c' => self.global()?,                                 // GLOBAL
            0x93 => self.stack_global()?,                           // STACK_GLOBAL
            b'Q' => self.persistent()?,                             // BINPERSID
            b'R' => self.reduce()?,                                 // REDUCE
            b'b' => self.pop().map(drop)?, // BUILD: an object's attributes are not needed
            0x81 => self.replace(2)?,      // NEWOBJ
            0x92 => self.replace(3)?,      // NEWOBJ_EX
            b'o' => self.pop_mark().map(|_| self.stack.push(Value::Opaque))?, // OBJ
            other => {
                return Err(
                    format!("its pickle has an instruction (0x{other:02x}) torch does not write").into()
                );
            }
        }
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(n).ok_or(CUT)?;
        let bytes = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(bytes)
    }

    /// A little-endian number of `n` bytes (at most 8).
    fn number(&mut self, n: usize) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().rev().fold(0, |number, &b| number << 8 | u64::from(b)))
    }

    /// A string of bytes whose length stands before it, in `n` bytes.
    fn counted(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.number(n)?).map_err(|_| CUT)?;
        self.take(length)
    }

    fn top(&self) -> Result<Value<'a>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| UNDERFLOW.into())
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_or_mark(&mut self) -> Result<(), Fault> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        let mark = self.marks.pop().ok_or(UNDERFLOW)?;
        Ok(self.stack.split_off(mark))
    }

    fn push(&mut self, data: Data<'a>) {
        self.heap_values += 1;
        self.stack.push(Value::Heap(self.heap.len() as u32));
        self.heap.push(data);
    }

    fn push_list(&mut self, items: Vec<Value<'a>>) {
        self.heap_values += items.len();
        self.push(Data::List(items));
    }

    fn opaque(&mut self, bytes: usize) -> Result<(), Fault> {
        self.take(bytes)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }

    fn integer(&mut self, opcode: u8) -> Result<(), Fault> {
        let value = match opcode {
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            _ => {
                let bytes = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                long(bytes).map_or(Value::Opaque, Value::Int)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, opcode: u8) -> Result<(), Fault> {
        let width = match opcode {
            0x8c | b'U' => 1,
            0x8d => 8,
            _ => 4,
        };
        let text = std::str::from_utf8(self.counted(width)?);
        self.stack.push(text.map_or(Value::Opaque, Value::Text));
        Ok(())
    }

    fn byte_string(&mut self, opcode: u8) -> Result<(), Fault> {
        let width = match opcode {
            b'C' => 1,
            b'B' => 4,
            _ => 8,
        };
        self.counted(width)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Result<(), Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(n).filter(|&start| start >= floor).ok_or(UNDERFLOW)?;
        let items = self.stack.split_off(start);
        self.push_list(items);
        Ok(())
    }

    fn list_from_mark(&mut self) -> Result<(), Fault> {
        let items = self.pop_mark()?;
        self.push_list(items);
        Ok(())
    }

    fn dict_from_mark(&mut self) -> Result<(), Fault> {
        self.push(Data::Dict(Vec::new()));
        let dict = self.stack.pop().ok_or(UNDERFLOW)?;
        let items = self.pop_mark()?;
        self.insert(dict, &items);
        self.stack.push(dict);
        Ok(())
    }

    /// Puts keys and values (in turns) into a dict; into anything else they vanish.
    fn insert(&mut self, dict: Value<'a>, items: &[Value<'a>]) {
        if let Value::Heap(i) = dict
            && let Some(Data::Dict(pairs)) = self.heap.get_mut(i as usize)
        {
            pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            self.heap_values += items.len();
        }
    }

    fn extend(&mut self, list: Value<'a>, items: &[Value<'a>]) {
        if let Value::Heap(i) = list
            && let Some(Data::List(values)) = self.heap.get_mut(i as usize)
        {
            values.extend(items);
            self.heap_values += items.len();
        }
    }

    fn append(&mut self) -> Result<(), Fault> {
        let item = self.pop()?;
        let list = self.top()?;
        self.extend(list, &[item]);
        Ok(())
    }

    fn appends(&mut self) -> Result<(), Fault> {
        let items = self.pop_mark()?;
        let list = self.top()?;
        self.extend(list, &items);
        Ok(())
    }

    fn set_item(&mut self) -> Result<(), Fault> {
        let value = self.pop()?;
        let key = self.pop()?;
        let dict = self.top()?;
        self.insert(dict, &[key, value]);
        Ok(())
    }

    fn set_items(&mut self) -> Result<(), Fault> {
        let items = self.pop_mark()?;
        let dict = self.top()?;
        self.insert(dict, &items);
        Ok(())
    }

    fn put(&mut self, opcode: u8) -> Result<(), Fault> {
        let slot = self.number(if opcode == b'q' { 1 } else { 4 })? as u32;
        let value = self.top()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), Fault> {
        let value = self.top()?;
        self.memo.insert(self.memo.len() as u32, value);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<(), Fault> {
        let slot = self.number(if opcode == b'h' { 1 } else { 4 })? as u32;
        let value = self.memo.get(&slot).ok_or("its pickle recalls a value it has not stored")?;
        self.stack.push(*value);
        Ok(())
    }

    /// A line of text, without its end.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or(CUT)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn global(&mut self) -> Result<(), Fault> {
        let (module, name) = (self.line()?, self.line()?);
        self.stack.push(known(module, name));
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), Fault> {
        let (name, module) = (self.pop()?, self.pop()?);
        self.stack.push(match (module, name) {
            (Value::Text(module), Value::Text(name)) => known(module.as_bytes(), name.as_bytes()),
            _ => Value::Opaque,
        });
        Ok(())
    }

    /// `("storage", class, key, device, count)` names an entry of the archive.
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = match self.list(id) {
            Some([Value::Text("storage"), class, Value::Text(key), ..]) => {
                let dtype = if let Value::Global(Global::Elements(dtype)) = class {
                    *dtype
                } else {
                    FileDType::Other
                };
                Some(Data::Storage { dtype, key })
            }
            _ => None,
        };
        match storage {
            Some(storage) => self.push(storage),
            None => self.stack.push(Value::Opaque),
        }
        Ok(())
    }

    /// Takes `n` values, an object and what it is made of, and leaves one opaque value.
    fn replace(&mut self, n: usize) -> Result<(), Fault> {
        for _ in 0..n {
            self.pop()?;
        }
        self.stack.push(Value::Opaque);
        Ok(())
    }

    fn list(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Heap(i) => match self.heap.get(i as usize)? {
                Data::List(items) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    fn reduce(&mut self) -> Result<(), Fault> {
        let (mut arguments, mut function) = (self.pop()?, self.pop()?);
        if function == Value::Global(Global::RebuildFromType)
            && let Some([inner, _, inner_arguments, ..]) = self.list(arguments)
        {
            (function, arguments) = (*inner, *inner_arguments);
        }
        let Value::Global(function) = function else {
            self.stack.push(Value::Opaque);
            return Ok(());
        };
        match function {
            Global::OrderedDict => self.ordered_dict(arguments),
            Global::Size | Global::RebuildParameter => {
                let first = self.list(arguments).and_then(|a| a.first().copied());
                self.stack.push(first.unwrap_or(Value::Opaque));
            }
            Global::RebuildTensor | Global::RebuildTensorV3 => {
                let tensor = self
                    .tensor(function, arguments)
                    .ok_or("its pickle describes a tensor that makes no sense")?;
                self.heap_values += 2 * tensor.shape.len();
                self.push(Data::Tensor(tensor));
            }
            Global::RebuildFromType | Global::Elements(_) => self.stack.push(Value::Opaque),
        }
        Ok(())
    }

    /// `OrderedDict()`, or `OrderedDict([[key, value], ...])` as old Pythons wrote it.
    fn ordered_dict(&mut self, arguments: Value<'a>) {
        let pairs = self.list(arguments).and_then(|a| self.list(*a.first()?)).unwrap_or(&[]);
        let items: Vec<_> =
            pairs.iter().filter_map(|&pair| self.list(pair)?.first_chunk::<2>()).flatten().copied().collect();
        self.push(Data::Dict(Vec::new()));
        if let Some(&dict) = self.stack.last() {
            self.insert(dict, &items);
        }
    }

    /// Arguments: storage, offset, size, strides, requires_grad, hooks, and in version 3 the dtype.
    fn tensor(&self, function: Global, arguments: Value<'a>) -> Option<Tensor<'a>> {
        let arguments = self.list(arguments)?;
        let [storage, offset, size, strides, ..] = *arguments.first_chunk::<4>()?;
        let Value::Heap(storage) = storage else { return None };
        let Data::Storage { mut dtype, key } = *self.heap.get(storage as usize)? else { return None };
        if function == Global::RebuildTensorV3
            && let Some(Value::Global(Global::Elements(own))) = arguments.get(6)
        {
            dtype = *own;
        }
        let (shape, strides) = (self.sizes(size)?, self.sizes(strides)?);
        let offset = size_of_value(offset)?;
        (shape.len() == strides.len()).then_some(Tensor { dtype, key, offset, shape, strides })
    }

    fn sizes(&self, value: Value<'a>) -> Option<Vec<usize>> {
        let items = self.list(value)?;
        // torch itself stops at 64 axes.
        (items.len() <= 64).then(|| items.iter().map(|&v| size_of_value(v)).collect())?
    }
}

fn size_of_value(value: Value<'_>) -> Option<usize> {
    match value {
        Value::Int(i) => usize::try_from(i).ok(),
        _ => None,
    }
}

/// Python's arbitrary integers, two's complement; `None` beyond 64 bits.
fn long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}
