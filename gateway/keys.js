// What nginx knows of keys, and how that changes.
//
// Two shared dictionaries hold what the controller wants: `keys` (digest -> "MARK ID PLAN EXPIRES MODELS") and
// `blocks` (id -> "UNTIL WHY"). They outlive reloads. The controller changes them through the control socket; while
// nothing is loaded (nginx was just started) access/keys.json is read, which is what the controller wrote last.
import fs from 'fs';

const VERSION = '#version', LOADING = '#loading', MARK = '#mark';
const MOST = 10000000;
// `$` alone would let a line break at the end pass.
const DIGEST = /^[0-9a-f]{64}$(?!\n)/;
const RECORD = /^key_[0-9a-f]{12} (-|[a-z0-9-]{1,40}) \d{1,12} [A-Za-z0-9.,_:\/*-]{1,8192}$(?!\n)/;
const BLOCK = /^\d{1,12} (minute|day)$(?!\n)/;
const ID = /^key_[0-9a-f]{12}$(?!\n)/;

function ensureLoaded(r) {
    if (ngx.shared.keys.get(VERSION) !== undefined) {
        return;
    }
    try {
        const file = JSON.parse(fs.readFileSync(`${ngx.conf_prefix}access/keys.json`, 'utf8'));
        begin(String(file.version));
        put(file.keys);
        end(String(file.version));
        putBlocks(file.blocks, '');
    } catch (e) {
        if (e.code !== 'ENOENT') {
            r.error(`access/keys.json cannot be used: ${e.message}`);
        }
        ngx.shared.keys.set(VERSION, '');
    }
}

// A full load, all of whose records have a mark of their own: the same version may be loaded a second time.
function begin(version) {
    const dict = ngx.shared.keys;
    dict.set(LOADING, version);
    dict.set(MARK, `${process.pid}.${Date.now()}.${Math.random()}`);
    dict.set(VERSION, '');
}

function put(records) {
    const mark = ngx.shared.keys.get(MARK) || '-';
    Object.keys(records).forEach(digest => {
        if (!DIGEST.test(digest) || !RECORD.test(records[digest])) {
            throw new Error('a record of a key is malformed');
        }
        ngx.shared.keys.set(digest, `${mark} ${records[digest]}`);
    });
}

// A full load is complete: what it did not bring is gone.
function end(version) {
    const dict = ngx.shared.keys, mark = dict.get(MARK);
    dict.items(MOST).forEach(item => {
        if (item[0][0] !== '#' && !item[1].startsWith(mark + ' ')) {
            dict.delete(item[0]);
        }
    });
    dict.delete(LOADING);
    dict.set(VERSION, version);
}

function putBlocks(blocks, version) {
    const dict = ngx.shared.blocks;
    Object.keys(blocks).forEach(id => {
        if (!ID.test(id) || !BLOCK.test(blocks[id])) {
            throw new Error('a block of a key is malformed');
        }
        dict.set(id, blocks[id]);
    });
    dict.keys(MOST).forEach(id => {
        if (id !== VERSION && !(id in blocks)) {
            dict.delete(id);
        }
    });
    dict.set(VERSION, version);
}

function say(r, status, value) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify(value));
}

// The control socket. Only who started nginx can reach it.
function access(r) {
    say(r, 200, {version: ngx.shared.keys.get(VERSION) || '', blocks: ngx.shared.blocks.get(VERSION) || ''});
}

function change(r) {
    const dict = ngx.shared.keys;
    const loaded = dict.get(VERSION) || '';
    try {
        const asked = JSON.parse(r.requestText);
        if (asked === null || typeof asked.version !== 'string' || typeof asked.set !== 'object') {
            throw new Error('there must be a version and a set of keys');
        }
        if (asked.base !== null && asked.base !== loaded) {
            say(r, 409, {version: loaded});
            return;
        }
        if (asked.base === null && dict.get(LOADING) !== asked.version) {
            begin(asked.version);
        }
        put(asked.set);
        if (asked.base === null && asked.last) {
            end(asked.version);
        } else if (asked.base !== null) {
            asked.delete.forEach(digest => dict.delete(String(digest)));
            dict.set(VERSION, asked.version);
        }
    } catch (e) {
        say(r, 422, {error: e.message});
        return;
    }
    say(r, 200, {version: dict.get(VERSION) || ''});
}

function block(r) {
    try {
        const asked = JSON.parse(r.requestText);
        putBlocks(asked.blocks, String(asked.version));
        say(r, 200, {version: asked.version});
    } catch (e) {
        say(r, 422, {error: e.message});
    }
}

export default {ensureLoaded, access, change, block};
