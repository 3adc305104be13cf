// Streams. A script's filter takes whatever a replica sends, and nginx keeps what the client has not read yet: a
// client that stops reading is cut off, and its replica is free. Where only the gateway has asked for the usage, the
// event that has it is not the client's.
import hot from 'route.js';

const BEHIND = 1048576, STEP = 65536;  // bytes; what the kernel holds comes on top
const BYTES = 4, EVERY = 8;  // of a request for a token of it; events from one estimate to the next

let events;  // whether the answer is a stream at all
let passed = 0, look = STEP;
let carried = Buffer.alloc(0);  // of an event whose end has not come yet
let counted = 0, due = 1, known = false;  // events; when the next estimate is made; whether the usage has come

function isStream(r) {
    if (events === undefined) {
        events = String(r.headersOut['Content-Type']).startsWith('text/event-stream');
    }
    return events;
}

function pace(r, data) {
    passed += data.length;
    if (passed > look) {
        look = passed + STEP;
        if (passed - Number(r.variables.bytes_sent) > BEHIND) {
            throw 'the client does not read its stream';  // no Error: its stack would be in the log
        }
    }
}

// What was used when the client leaves before the usage comes: else whoever leaves early pays nothing.
function reckon(r, data) {
    for (let at = data.indexOf('data:'); at >= 0; at = data.indexOf('data:', at + 5)) {
        counted += 1;
    }
    if (counted >= due) {
        due = counted + EVERY;
        r.variables.stoker_tokens_in = String(Math.ceil(r.requestBuffer.length / BYTES));
        r.variables.stoker_tokens_out = String(counted);
    }
}

// One that has its usage because the client wants it, and the answers that come this way and are no streams.
function asked(r, data, flags) {
    if (isStream(r)) {
        pace(r, data);
        if (!known) {
            reckon(r, data);
        }
    }
    known = hot.whole(r, data, flags) || known;
}

// Less comes than the replica has announced.
function head(r) {
    if (isStream(r)) {
        delete r.headersOut['Content-Length'];
    }
}

function metered(r, data, flags) {
    if (!isStream(r)) {
        hot.whole(r, data, flags);
        return;
    }
    pace(r, data);
    if (!known) {
        reckon(r, data);
    }
    if (carried.length === 0 && endsEvent(data) && data.indexOf('"usage"') < 0) {
        r.sendBuffer(data, flags);  // nearly all of them
        return;
    }
    let seen = carried.length ? Buffer.concat([carried, data]) : data;
    const end = flags.last ? seen.length : lastEvent(seen);
    carried = Buffer.from(seen.subarray(end));
    seen = seen.subarray(0, end);
    if (seen.indexOf('"usage"') >= 0) {
        known = hot.note(r, seen) || known;
        seen = Buffer.from(withoutUsage(seen.toString()));
    }
    if (seen.length > 0 || flags.last) {
        r.sendBuffer(seen, flags);
    }
}

function endsEvent(data) {
    const last = data.length - 1;
    return last < 0 || (data[last] === 10 && (data[last - 1] === 10 || data[last - 2] === 10));
}

// Where the last complete event ends; what comes after it waits for the rest.
function lastEvent(data) {
    const unix = data.lastIndexOf('\n\n');
    const windows = data.lastIndexOf('\r\n\r\n');
    return Math.max(unix < 0 ? 0 : unix + 2, windows < 0 ? 0 : windows + 4);
}

function withoutUsage(text) {
    const gap = text.indexOf('\r\n\r\n') < 0 ? '\n\n' : '\r\n\r\n';
    return text.split(gap).filter(event => !(/"usage"\s*:\s*\{/.test(event) && /"choices"\s*:\s*\[\s*\]/.test(event)))
        .join(gap);
}

export default {asked, head, metered};
