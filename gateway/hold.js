// Keeps the head of an answer back until the first byte of its body. Called once or twice per request, not per token:
// after `done` nginx passes the rest by itself.
function untilFirstByte(r, data, flags) {
    if (data.length > 0 || flags.last) {
        r.sendBuffer(data, {last: flags.last, flush: true});
        r.done();
    }
}

export default {untilFirstByte};
