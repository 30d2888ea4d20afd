// Without media no one else is in a room. `waitForParticipant` and `remoteParticipants` of a job without a
// room return a stand-in participant, so that agents that wait for their caller continue.
'use strict';

const IDENTITY = 'agent-tui-caller';

function participant() {
  const info = { sid: 'PA_agent_tui', identity: IDENTITY, name: '', metadata: '', attributes: {}, kind: 0 };
  return {
    info,
    sid: info.sid,
    identity: IDENTITY,
    name: '',
    metadata: '',
    attributes: {},
    kind: 0,
    trackPublications: new Map(),
    on() {
      return this;
    },
    once() {
      return this;
    },
    off() {
      return this;
    },
  };
}

function standIn(sdk) {
  const prototype = sdk.JobContext.prototype;
  const { connect, waitForParticipant } = prototype;
  prototype.connect = async function (...args) {
    await connect.apply(this, args);
    if (this.isFakeJob && this.room.remoteParticipants.size === 0) {
      this.room.remoteParticipants.set(IDENTITY, participant());
    }
  };
  prototype.waitForParticipant = async function (identity) {
    if (!this.isFakeJob) return waitForParticipant.call(this, identity);
    for (const each of this.room.remoteParticipants.values()) {
      if (!identity || each.identity === identity) return each;
    }
    const made = participant();
    if (identity) made.identity = made.info.identity = identity;
    this.room.remoteParticipants.set(made.identity, made);
    return made;
  };
}

module.exports = { standIn };
