// One call being answered by this function: the order Meta wants, and what happens when a step fails.
//
//   the control plane says no, or is away            reject: nobody is left ringing
//   the call is over already, or somebody else's     nothing
//   Graph refuses pre_accept or accept               EndCall GRAPH_REFUSED, then reject
//   the session ends before it is accepted           reject, unless the caller is who left
//   the session is gone once it is accepted          terminate

import { within } from "../_shared/background.ts";
import {
  agentFor,
  EndReason,
  Progress,
  reasonOf,
  type Stage,
  type Started,
  type Termination,
} from "../_shared/bridge.ts";
import { type GraphError, graphFields, GraphRefusedError, isGraphError } from "../_shared/graph.ts";
import { since } from "../_shared/log.ts";
import { lookUp } from "../_shared/profiles.ts";
import type { Connect } from "../_shared/webhook.ts";
import type { SelfContext } from "./context.ts";

/** Meta lets a call ring for about 30 s; answering takes a moment itself. */
const ANSWER_WITHIN_MS = 25_000;
/** How long `reject` lets EndCall go first. */
const END_FIRST_MS = 1000;
/** From accepting to the first packet of the call; then nobody waits for its log line any more. */
const ACTIVE_WITHIN_MS = 10_000;

/** The caller, or Meta, ended it: there is nobody to reject. */
const LEFT = ["CALLER_ABANDONED", "USER_HANGUP", "META_FAILED", "MEDIA_TIMEOUT"];

export class Answering {
  constructor(
    private readonly connect: Connect,
    private readonly receivedAt: number,
    private readonly context: SelfContext,
  ) {}

  /** Has the control plane begin the call, or Graph told that nobody answers it; `nobody`: neither could be reached. */
  async begin(): Promise<Started | "over" | "anothers" | "rejected" | "nobody"> {
    this.context.log.info("WA_CALL_CONNECT", { mode: "self", elapsedMs: this.#elapsed() });
    return await this.#start();
  }

  /** Takes a call that was begun to its first packet. */
  async answer(started: Started): Promise<void> {
    const { log } = this.context;
    if (started.byAnother) return log.info("WA_CALL_DUPLICATE", { elapsedMs: this.#elapsed() });
    if (!await this.#graph("pre_accept", started.sdpAnswer)) return;
    log.info("WA_CALL_PRE_ACCEPTED", { elapsedMs: this.#elapsed() });
    if (!await this.#advance("ANSWER_DELIVERED", "reject", this.#limit)) return;
    if (!await this.#ready()) return;
    if (!await this.#graph("accept", started.sdpAnswer)) return;
    log.info("WA_CALL_ACCEPTED", { elapsedMs: this.#elapsed() });
    if (!await this.#advance("ACCEPTED", "terminate")) return;
    await this.#active();
  }

  #elapsed(): number {
    return since(this.receivedAt);
  }

  /** Who is not ready by then is turned down. */
  get #limit(): number {
    return this.receivedAt + ANSWER_WITHIN_MS;
  }

  async #start(): Promise<Started | "over" | "anothers" | "rejected" | "nobody"> {
    const { settings, bridge, sql, log } = this.context;
    const profile = await lookUp(settings.database, sql, this.connect.caller, log);
    const began = Date.now();
    try {
      const started = await bridge.start(this.connect, agentFor(profile), this.receivedAt);
      if (started === undefined) {
        log.info("WA_CALL_DUPLICATE", { elapsedMs: this.#elapsed() });
        return "anothers";
      }
      log.info("VOICE_BRIDGE_SESSION_CREATED", { elapsedMs: this.#elapsed(), tookMs: since(began) });
      return started;
    } catch (error) {
      const reason = reasonOf(error);
      // Its end overtook its beginning, or this is a delivery of yesterday's.
      if (reason === "SESSION_ENDED") {
        log.info("WA_CALL_ALREADY_OVER", { elapsedMs: this.#elapsed() });
        return "over";
      }
      log.error("VOICE_BRIDGE_SESSION_NOT_CREATED", { elapsedMs: this.#elapsed(), reason, ...log.failure(error) });
      return await this.#hangUp("reject") ? "rejected" : "nobody";
    }
  }

  /** Whether Graph did it. If not, the call is ended on both sides. */
  async #graph(action: "pre_accept" | "accept", sdp: string): Promise<boolean> {
    const { graph, log } = this.context;
    log.info("GRAPH_ASKED", { action, elapsedMs: this.#elapsed() });
    try {
      await graph.act(this.connect.phoneNumberId, this.connect.callId, action, sdp);
      return true;
    } catch (error) {
      if (!isGraphError(error)) throw error;
      await this.#failedAtGraph(error);
      return false;
    }
  }

  async #failedAtGraph(error: GraphError): Promise<void> {
    const { bridge, log } = this.context;
    const refused = error instanceof GraphRefusedError;
    log.error(refused ? "GRAPH_REFUSED" : "GRAPH_UNREACHABLE", {
      elapsedMs: this.#elapsed(),
      ...graphFields(error, log),
    });
    const ended = bridge.end(this.connect.callId, refused ? EndReason.GRAPH_REFUSED : EndReason.GRAPH_UNREACHABLE)
      .catch(
        (error) => log.error("CALL_NOT_ENDED", { reason: reasonOf(error), ...log.failure(error) }),
      );
    // First, so that its reason stands; without an answer nobody is left ringing.
    await within(END_FIRST_MS, ended);
    await Promise.all([ended, this.#hangUp("reject")]);
  }

  /** Whether the session was told. If not, the call cannot go on. */
  async #advance(stage: Stage, goodbye: "reject" | "terminate", deadlineMs?: number): Promise<boolean> {
    const { bridge, log } = this.context;
    try {
      await bridge.advance(this.connect.callId, stage, deadlineMs);
      return true;
    } catch (error) {
      const reason = reasonOf(error);
      log.warn("SESSION_NOT_ADVANCED", { stage, elapsedMs: this.#elapsed(), reason, ...log.failure(error) });
      await this.#hangUp(goodbye);
      return false;
    }
  }

  /** Waits until the transport is up and the AI ready, or patience with the AI is over. */
  async #ready(): Promise<boolean> {
    const { settings, bridge, log } = this.context;
    const { callId } = this.connect;
    const limit = this.#limit;
    const patience = Math.min(this.receivedAt + settings.acceptPatienceMs, limit);
    try {
      // A control plane that is away meanwhile may be back: that is patience with another than the AI.
      let call = await bridge.wait(callId, [Progress.TRANSPORT_CONNECTED, Progress.AI_READY], patience, limit);
      if (!call.reached.has(Progress.TRANSPORT_CONNECTED) && call.termination === undefined) {
        // Without a transport there is nothing to accept, however long the AI takes.
        call = await bridge.wait(callId, [Progress.TRANSPORT_CONNECTED], limit);
      }
      // When it was, not when it was heard of.
      const readyMs = call.reached.get(Progress.AI_READY);
      if (readyMs !== undefined) log.info("OPENAI_SESSION_CREATED", { elapsedMs: readyMs });
      if (call.termination !== undefined) {
        await this.#endedEarly(call.termination);
        return false;
      }
      if (!call.reached.has(Progress.TRANSPORT_CONNECTED)) throw new Error("the transport did not come up in time");
      return true;
    } catch (error) {
      log.error("CALL_NOT_READY", { elapsedMs: this.#elapsed(), reason: reasonOf(error), ...log.failure(error) });
      await Promise.all([
        bridge.end(callId, Date.now() >= limit ? EndReason.RING_TIMEOUT : EndReason.API_HANGUP).catch((error) =>
          log.warn("CALL_NOT_ENDED", log.failure(error))
        ),
        this.#hangUp("reject"),
      ]);
      return false;
    }
  }

  async #endedEarly(termination: Termination): Promise<void> {
    const { log } = this.context;
    log.warn("SESSION_ENDED_BEFORE_ACCEPT", {
      elapsedMs: this.#elapsed(),
      reason: termination.reason,
      code: termination.upstreamCode,
    });
    if (!LEFT.includes(termination.reason)) await this.#hangUp("reject");
  }

  /** Waits until the call's audio flows, for the log. */
  async #active(): Promise<void> {
    const { bridge, log } = this.context;
    try {
      const { reached } = await bridge.wait(
        this.connect.callId,
        [Progress.MEDIA_ACTIVE],
        Date.now() + ACTIVE_WITHIN_MS,
      );
      const elapsedMs = reached.get(Progress.MEDIA_ACTIVE);
      if (elapsedMs !== undefined) log.info("MEDIA_BRIDGE_ACTIVE", { elapsedMs });
    } catch (error) {
      log.warn("MEDIA_BRIDGE_NOT_SEEN", { elapsedMs: this.#elapsed(), reason: reasonOf(error), ...log.failure(error) });
    }
  }

  /** Whether Graph was told. */
  async #hangUp(first: "reject" | "terminate"): Promise<boolean> {
    const { graph, log } = this.context;
    try {
      return await graph.hangUp(this.connect.phoneNumberId, this.connect.callId, first, log);
    } catch (error) {
      if (!isGraphError(error)) throw error;
      log.error("GRAPH_UNREACHABLE", { elapsedMs: this.#elapsed(), ...graphFields(error, log) });
      return false;
    }
  }
}
