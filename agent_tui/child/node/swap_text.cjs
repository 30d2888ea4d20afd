// What a swap does not reach, found by comparing the text of two versions of a file.
'use strict';

const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|await|yield))\s*$/;
const SESSION = /\bnew\s+(?:[\w$]+\s*\.\s*)*AgentSession\s*(?:<[^()]*>)?\s*\(/g;
const HANDLER = /\.\s*(?:on|once|addListener)\s*\(/g;
const VALUE = /^(?:export\s+)?(let|var|const)\s+([\w$]+)\s*(?::[^=\n]+)?=(?!=)\s*/gm;
const DECLARED = /^(?:(?:export|default|declare|abstract|async)\s+)*(?:class|function\s*\*?|enum|const\s+enum|const|let|var)\s+([\w$]+)/;
const WORD = /(?<![.\w$])[\w$]+/g;
const STATE = /^(?:\[\s*\]|\{\s*\}|new\b)/;

/**
 * Return two copies of a source in which positions stay: one without comments, and one in which strings,
 * templates, and regular expressions are blank too.
 */
function masked(source) {
  let code = '';
  let bare = '';
  const add = (text, isCode, isBare) => {
    const blank = text.replace(/[^\n]/g, ' ');
    code += isCode ? text : blank;
    bare += isBare ? text : blank;
  };
  for (let at = 0; at < source.length; ) {
    const two = source.slice(at, at + 2);
    let end = at + 1;
    if (two === '//') {
      end = source.indexOf('\n', at);
      end = end < 0 ? source.length : end;
      add(source.slice(at, end), false, false);
    } else if (two === '/*') {
      end = source.indexOf('*/', at + 2);
      end = end < 0 ? source.length : end + 2;
      add(source.slice(at, end), false, false);
    } else if (`"'\``.includes(source[at])) {
      end = closing(source, at);
      add(source.slice(at, end), true, false);
    } else if (source[at] === '/' && BEFORE_REGEX.test(bare.slice(-20))) {
      end = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//.exec(source.slice(at, at + 2000))?.[0].length ?? 1;
      end += at;
      add(source.slice(at, end), true, end === at + 1);
    } else {
      add(source[at], true, true);
    }
    at = end;
  }
  return { code, bare };
}

/** Return the position after the string or template that starts here. */
function closing(source, start) {
  const quote = source[start];
  for (let at = start + 1; at < source.length; at += 1) {
    if (source[at] === '\\') at += 1;
    else if (source[at] === quote) return at + 1;
    else if (source[at] === '\n' && quote !== '`') return at;
    else if (quote === '`' && source.startsWith('${', at)) {
      for (let depth = 1, inner = at + 2; inner < source.length; inner += 1) {
        if (`"'\``.includes(source[inner])) inner = closing(source, inner) - 1;
        else if (source[inner] === '{') depth += 1;
        else if (source[inner] === '}' && (depth -= 1) === 0) {
          at = inner;
          break;
        }
      }
    }
  }
  return source.length;
}

/** Return the position after the bracket that closes the one here. */
function balanced(bare, start) {
  let depth = 0;
  for (let at = start; at < bare.length; at += 1) {
    if ('([{'.includes(bare[at])) depth += 1;
    if (')]}'.includes(bare[at]) && (depth -= 1) === 0) return at + 1;
  }
  return bare.length;
}

function normal(code) {
  return code.replace(/\s+/g, ' ').trim();
}

function lineOf(source, position) {
  return source.slice(0, position).split('\n').length;
}

/** Return the calls that a pattern finds, whose last character is the opening parenthesis. */
function calls(source, pattern) {
  const { code, bare } = masked(source);
  return Array.from(bare.matchAll(pattern), (match) => {
    const open = match.index + match[0].length - 1;
    const end = balanced(bare, open);
    return { text: normal(code.slice(open, end)), start: match.index, open, end, line: lineOf(source, match.index) };
  });
}

/** Return a function's text without the parts that have notes of their own. */
function rest(source) {
  const { code } = masked(source);
  let text = code;
  for (const { start, open, end } of calls(source, HANDLER)) text = text.slice(0, start) + ' '.repeat(end - start) + text.slice(end);
  for (const { open, end } of calls(source, SESSION)) text = text.slice(0, open) + ' '.repeat(end - open) + text.slice(end);
  return normal(text);
}

/**
 * Return what changed in code that a running job does not run again, as `agent.mjs:12 what`. `old` and `now`
 * are sources.
 */
function startNotes(old, now, file) {
  const notes = [];
  for (const [pattern, what] of [[SESSION, 'arguments of AgentSession(...)'], [HANDLER, 'event handler']]) {
    const known = new Set(calls(old, pattern).map((each) => each.text));
    for (const { text, line } of calls(now, pattern)) {
      if (!known.has(text)) notes.push(`${file}:${line} ${what}`);
    }
  }
  return notes;
}

/** Return a note if a function of the definition changed, such as `agent.mjs:12 body of entry()`. */
function functionNotes(name, old, now, source, file) {
  if (typeof old !== 'function' || typeof now !== 'function' || rest(String(old)) === rest(String(now))) return [];
  const { bare } = masked(source);
  const place = new RegExp(`\\b${name}\\b\\s*[:(=]|\\bfunction\\s+${now.name || name}\\b`).exec(bare);
  return [`${file}${place ? `:${lineOf(source, place.index)}` : ''} body of ${name}()`];
}

/**
 * Return the variables at module level that may hold state, and that both sources set from the same text, with
 * their lines in `now`.
 */
function unchangedState(old, now) {
  const earlier = new Map(stateOf(old).map(({ name, text }) => [name, text]));
  return stateOf(now).filter(({ name, text }) => earlier.get(name) === text);
}

function stateOf(source) {
  const { code, bare } = masked(source);
  const found = [];
  for (const match of bare.matchAll(VALUE)) {
    const start = match.index + match[0].length;
    let end = start;
    while (end < bare.length && !';\n'.includes(bare[end])) end = '([{'.includes(bare[end]) ? balanced(bare, end) : end + 1;
    const text = normal(code.slice(start, end));
    if (match[1] !== 'const' || STATE.test(text)) found.push({ name: match[2], text, line: lineOf(source, match.index) });
  }
  return found;
}

/** Return the text of a class, ignoring comments; undefined if there is none. */
function classText(source, name) {
  const { code, bare } = masked(source);
  const found = new RegExp(`\\bclass\\s+${name.replace(/\$/g, '\\$&')}(?![\\w$])[^{]*\\{`).exec(bare);
  return found ? normal(code.slice(found.index, balanced(bare, found.index + found[0].length - 1))) : undefined;
}

/**
 * Return the text of a class and of what it uses: the classes, functions, and variables at module level whose
 * names are in its text, directly or not. Ignores comments.
 */
function usedText(source, name) {
  const parts = declarations(source);
  if (!parts.has(name)) return classText(source, name);
  const used = new Set([name]);
  for (const each of used) {
    for (const [word] of parts.get(each).matchAll(WORD)) {
      if (parts.has(word)) used.add(word);
    }
  }
  return [...used].sort().map((each) => normal(parts.get(each))).join('\n');
}

/** Return the text of each declaration at module level, by name: what starts in the first column. */
function declarations(source) {
  const { code, bare } = masked(source);
  const parts = new Map();
  let [depth, start, at] = [0, 0, 0];
  const keep = (end) => {
    const found = DECLARED.exec(bare.slice(start, end));
    if (found) parts.set(found[1], code.slice(start, end));
  };
  for (const line of bare.split('\n')) {
    if (depth === 0 && /^[\w$@]/.test(line)) {
      keep(at);
      start = at;
    }
    for (const char of line) depth += '([{'.includes(char) ? 1 : ')]}'.includes(char) ? -1 : 0;
    at += line.length + 1;
  }
  keep(bare.length);
  return parts;
}

/** Whether the constructor that a class uses takes arguments, which nobody has recorded. */
function takesArguments(cls, bases) {
  for (let each = cls; typeof each === 'function' && !bases.includes(each); each = Object.getPrototypeOf(each)) {
    const source = String(each);
    const { bare } = masked(source);
    const start = /(?:^|[{};\s])constructor\s*\(/.exec(bare.slice(bare.indexOf('{')));
    if (!start) continue;
    const open = bare.indexOf('{') + start.index + start[0].length - 1;
    return normal(bare.slice(open + 1, balanced(bare, open) - 1)) !== '' || /\barguments\b/.test(bare);
  }
  return true;
}

module.exports = { classText, functionNotes, startNotes, takesArguments, unchangedState, usedText };
