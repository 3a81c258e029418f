#!/usr/bin/env python3
"""moto_server (5.2.1) with its Step Functions engine brought close enough to AWS to test Distributed Map.

Adds / fixes, by patching at start (moto itself stays untouched on disk):
  1  a second StartExecution works (stock: deepcopy of a lock -> HTTP 500)
  2  ItemReader InputType JSONL; ExecutionType EXPRESS accepted; integer ToleratedFailurePercentage accepted
  3  ItemBatcher (MaxItemsPerBatch, MaxInputBytesPerBatch, BatchInput static or "x.$": "$.path")
  4  ToleratedFailureCount / Percentage enforced -> States.ExceedToleratedFailureThreshold
  5  ResultWriter writes SUCCEEDED_n / FAILED_n / manifest.json, WriterConfig NONE|COMPACT|FLATTEN, JSON|JSONL
  6  worker recursion -> loop (stock: RecursionError with many items per worker)
  7  missing manifest / bad JSON -> States.ItemReaderFailed; listObjectsV2 pages and survives an empty prefix
  8  InvalidDefinition has an error type (stock sends "__type": null and breaks the JS SDK)
  9  boto clients cached (stock makes a client per invocation: ~70 ms each)
Run: MOTO_PORT=<port of the router, engine.ts> python engine.py -H 127.0.0.1 -p <moto port>
then POST /moto-api/config {"stepfunctions":{"execute_state_machine":true}}
"""
import copy, datetime, itertools, json, sys, threading, uuid

P = "moto.stepfunctions.parser"
# --- 9: cached boto clients; must be replaced before the modules that import it by name
import moto.stepfunctions.parser.asl.utils.boto_client as bc  # noqa: E402
_orig_bc = bc.boto_client_for
_lock = threading.Lock(); _clients = {}
def boto_client_for(region, service, state_credentials=None):
    with _lock:
        k = (region, service)
        if k not in _clients:
            c = _orig_bc(region=region, service=service)
            c.meta.config.max_pool_connections  # default 10 is enough: urllib3 opens more and discards
            _clients[k] = c
        return _clients[k]
bc.boto_client_for = boto_client_for

import moto.stepfunctions.parser.models as pm  # noqa: E402
from moto.stepfunctions.exceptions import AWSError  # noqa: E402
from moto.stepfunctions.parser.api import ExecutionFailedEventDetails, HistoryEventType, MapRunFailedEventDetails, MapRunStatus  # noqa: E402,F401
from moto.stepfunctions.parser.asl.parse import asl_parser  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType as T  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.item_reader_decl import ItemReader  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import resource_eval_s3 as reader_s3  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_output_transformer.transformer_json import ResourceOutputTransformerJson  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import DistributedIterationComponent  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker import DistributedItemProcessorWorker  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobPool  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval import resource_eval_s3 as writer_s3  # noqa: E402
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails  # noqa: E402
from moto.stepfunctions.parser.asl.eval.program_state import ProgramError, ProgramStopped  # noqa: E402
from moto.stepfunctions.parser.asl.eval.states import ItemData, MapData  # noqa: E402
from moto.stepfunctions.parser.asl.utils.json_path import extract_json  # noqa: E402

for m in list(sys.modules.values()):  # modules that already imported the name
    if getattr(m, "boto_client_for", None) is _orig_bc: m.boto_client_for = boto_client_for

# --- 1
class _ShallowCopy:
    deepcopy = staticmethod(copy.copy)
pm.copy = _ShallowCopy

# --- 8
class InvalidDefinition(AWSError):
    TYPE = "InvalidDefinition"; STATUS = 400
_validate = pm.StepFunctionsParserBackend._validate_definition
def _validate_definition(definition):
    try: _validate(definition=definition)
    except Exception as e: raise InvalidDefinition(f"Invalid State Machine Definition: '{getattr(e, 'message', None) or e}'")
pm.StepFunctionsParserBackend._validate_definition = staticmethod(_validate_definition)

# --- 2: take out of the definition what the grammar cannot parse, keep it by state name
TL = threading.local()
def _strip(states, extras):
    for name, st in states.items():
        if st.get("Type") == "Map":
            x = extras[name] = {}
            for k in ("ItemBatcher", "ToleratedFailurePercentage", "ToleratedFailureCount", "ToleratedFailurePercentagePath"):
                if k in st: x[k] = st.pop(k)
            rc = st.get("ItemReader", {}).get("ReaderConfig", {})
            if rc.get("InputType") == "JSONL": x["JSONL"] = True; rc["InputType"] = "JSON"
            rc.pop("ItemsPointer", None)
            rw = st.get("ResultWriter")
            if rw is not None:
                x["Writer"] = rw.pop("WriterConfig", {})
                if "Resource" not in rw: st.pop("ResultWriter"); x["StateOutput"] = x.pop("Writer")
            ip = st.get("ItemProcessor") or st.get("Iterator") or {}
            pc = ip.get("ProcessorConfig", {})
            if pc.get("ExecutionType") == "EXPRESS": pc["ExecutionType"] = "STANDARD"; x["Express"] = True
            _strip(ip.get("States", {}), extras)
        for b in st.get("Branches", []): _strip(b.get("States", {}), extras)
_parse = asl_parser.AmazonStateLanguageParser.parse
def parse(definition):
    extras = {}
    try:
        d = json.loads(definition); _strip(d.get("States", {}), extras); definition = json.dumps(d)
    except (ValueError, AttributeError): pass
    TL.extras = extras
    return _parse(definition)
asl_parser.AmazonStateLanguageParser.parse = staticmethod(parse)
_fsp = StateMap.from_state_props
def from_state_props(self, props):
    _fsp(self, props); self._x = getattr(TL, "extras", {}).get(self.name, {})
StateMap.from_state_props = from_state_props
_me = StateMap._eval_execution
def _eval_execution(self, env):
    prev = getattr(TL, "x", None); TL.x = self._x; TL.map_state = self
    try: _me(self, env)
    finally: TL.x = prev
StateMap._eval_execution = _eval_execution

def fail(env, typ, cause):
    n = StatesErrorName(typ=typ)
    return FailureEventException(FailureEvent(env=env, error_name=n, event_type=HistoryEventType.MapRunFailed, event_details=EventDetails(
        mapRunFailedEventDetails=MapRunFailedEventDetails(error=n.error_name, cause=cause), executionFailedEventDetails=ExecutionFailedEventDetails(error=n.error_name, cause=cause))))

# --- 2, 7: reading
_ij = ResourceOutputTransformerJson._eval_body
def _json_body(self, env):
    if TL.x and TL.x.get("JSONL"):
        cfg = env.stack.pop(); text = env.stack.pop()
        env.stack.append([json.loads(l) for l in itertools.islice((l for l in text.split("\n") if l.strip()), cfg["MaxItemsValue"])])
    else: _ij(self, env)
ResourceOutputTransformerJson._eval_body = _json_body
_ir = ItemReader._eval_body
def _reader(self, env):
    try: _ir(self, env)
    except FailureEventException: raise
    except Exception as e: raise fail(env, T.StatesItemReaderFailed, str(e))
ItemReader._eval_body = _reader
def _list(env, part, cred):
    c = boto_client_for(region=part.region, service="s3"); p = env.stack.pop(); out = []
    for page in c.get_paginator("list_objects_v2").paginate(**p): out += page.get("Contents", [])
    env.stack.append([{k: (v.timestamp() if isinstance(v, datetime.datetime) else v) for k, v in o.items()} for o in out])
reader_s3.ResourceEvalS3._handle_list_objects_v2 = staticmethod(_list)

# --- 3: batching
def _select(env, ev, i, v):
    if not (ev.item_selector or ev.parameters): return v
    f = env.open_inner_frame()
    try:
        f.states.context_object.context_object_data["Map"] = MapData(Item=ItemData(Index=i, Value=v))
        inp = env.states.get_input(); f.states.reset(input_value=inp); f.stack.append(inp)
        (ev.item_selector or ev.parameters).eval(f); return f.stack[-1]
    finally: env.delete_frame(f)
def _batches(env, ev, items, b):
    inp = env.states.get_input(); bi = b.get("BatchInput")
    if isinstance(bi, dict): bi = {k[:-2] if k.endswith(".$") else k: extract_json(v, inp) if k.endswith(".$") else v for k, v in bi.items()}
    mx = b.get("MaxItemsPerBatch") or 10**9; mb = min(b.get("MaxInputBytesPerBatch") or 262144, 262144)
    out, cur, size = [], [], 0
    for i, v in enumerate(items):
        v = _select(env, ev, i, v); n = len(json.dumps(v).encode()) + 1
        if cur and (len(cur) >= mx or size + n > mb): out.append(cur); cur, size = [], 0
        cur.append(v); size += n
    if cur: out.append(cur)
    ev.item_selector = None; ev.parameters = None
    return [({"BatchInput": bi} if bi is not None else {}) | {"Items": c} for c in out]

# --- 4: tolerance, records for 5
class Rec:
    def __init__(s, x, total): s.x, s.total, s.lock, s.done, s.failed_items, s.pool, s.batched = x, total, threading.Lock(), [], 0, None, False
    def over(s):
        c, p = s.x.get("ToleratedFailureCount"), s.x.get("ToleratedFailurePercentage")
        if c is None and p is None: return s.failed_items > 0
        return (c is not None and s.failed_items > c) or (p is not None and s.total and s.failed_items * 100 / s.total > p)
_mr = DistributedIterationComponent._map_run
def _map_run(self, env, eval_input):
    ev = eval_input
    x = dict(TL.x or {}); path = x.pop("ToleratedFailurePercentagePath", None)
    if path is not None: x["ToleratedFailurePercentage"] = extract_json(path, env.states.get_input())
    items = env.stack.pop(); rec = Rec(x, len(items)); r = ev.map_run_record; r._rec = rec
    if x.get("ToleratedFailurePercentage") is not None: r.tolerated_failure_percentage = x["ToleratedFailurePercentage"]
    if x.get("ToleratedFailureCount") is not None: r.tolerated_failure_count = x["ToleratedFailureCount"]
    if x.get("ItemBatcher"): items = _batches(env, ev, items, x["ItemBatcher"]); rec.batched = True
    env.stack.append(items); _mr(self, env=env, eval_input=ev)
    out = [d for d in env.stack.pop() if d is not None]
    if (x.get("StateOutput") or {}).get("Transformation") == "FLATTEN": out = [y for o in out for y in (o if isinstance(o, list) else [o])]
    env.stack.append(out)
DistributedIterationComponent._map_run = _map_run
_sigs = {}
def _eval_job(self, env, job):
    r = self._map_run_record; rec = r._rec; rec.pool = self._job_pool
    n = len(job.job_input["Items"]) if rec.batched else 1
    r.item_counter.total.count(n); r.item_counter.running.count(n); r.execution_counter.total.count(); r.execution_counter.running.count()
    start = datetime.datetime.now(datetime.timezone.utc); out = None; err = None; inp = job.job_input
    try:
        env.states.context_object.context_object_data["Map"] = MapData(Item=ItemData(Index=job.job_index, Value=job.job_input))
        env.states.reset(job.job_input); env.stack.append(env.states.get_input()); self._eval_input(env_frame=env); inp = env.states.get_input()
        job.job_program.eval(env); st = env.program_state()
        if isinstance(st, ProgramError): err = (st.error or {}).get("error") or "Unknown", (st.error or {}).get("cause") or ""
        elif isinstance(st, ProgramStopped): err = "ABORTED", ""
        else: out = env.states.get_input()
    except FailureEventException as e: err = e.extract_error_cause_pair() or (str(e), "")
    except Exception as e: err = "States.Runtime", str(e)
    r.item_counter.running.offset(-n); r.execution_counter.running.offset(-1)
    which = "failed" if err and err[0] != "ABORTED" else "aborted" if err else "succeeded"
    getattr(r.item_counter, which).count(n); getattr(r.execution_counter, which).count(); r.item_counter.results_written.count(n); r.execution_counter.results_written.count()
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{r.map_run_arn}{job.job_index}"))
    iso = lambda d: d.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    e = {"ExecutionArn": r.map_state_machine_arn.replace(":stateMachine:", ":execution:") + ":" + name, "Input": json.dumps(inp, default=str), "InputDetails": {"Included": True}, "Name": name, "RedriveCount": 0, "RedriveStatus": "REDRIVABLE" if err else "NOT_REDRIVABLE", "StartDate": iso(start), "StateMachineArn": r.map_state_machine_arn, "Status": which.upper() if which != "succeeded" else "SUCCEEDED", "StopDate": iso(datetime.datetime.now(datetime.timezone.utc))}
    if err: e["Error"], e["Cause"] = err[0], err[1]
    else: e["Output"], e["OutputDetails"] = json.dumps(out, default=str), {"Included": True}
    job.job_output = out
    with rec.lock:
        rec.done.append((job.job_index, e, out))
        if err:
            rec.failed_items += n
            if rec.over() and not isinstance(getattr(rec, "stop", None), Exception):
                rec.stop = job.job_output = fail(env, T.StatesExceedToleratedFailureThreshold, "The specified tolerated failure threshold was exceeded")
DistributedItemProcessorWorker._eval_job = _eval_job

# --- 6
def _eval_pool(self, job, worker_frame):
    while job is not None:
        f = worker_frame.open_inner_frame(); self._eval_job(env=f, job=job); worker_frame.delete_frame(f)
        stop = isinstance(job.job_output, Exception) or self.stopped()
        nxt = None if stop else self._job_pool.next_job()
        if nxt is None: self._env.delete_frame(worker_frame)
        self._job_pool.close_job(job); job = nxt
DistributedItemProcessorWorker._eval_pool = _eval_pool

# --- 5: results. On failure AWS also writes them, so hook the map run end, not only the success path
def write_results(env, rec, r, bucket, prefix, region):
    c = boto_client_for(region=region, service="s3"); w = rec.x.get("Writer") or {}; files = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    prefix = prefix + "/" if prefix and not prefix.endswith("/") else prefix; base = prefix + r.map_run_arn.split(":")[-1]
    for st in ("SUCCEEDED", "FAILED"):
        rows = [(e, o) for _, e, o in sorted(rec.done, key=lambda d: d[0]) if (e["Status"] == "SUCCEEDED") == (st == "SUCCEEDED")]
        if not rows: continue
        t = w.get("Transformation", "NONE")
        data = [e for e, _ in rows] if t == "NONE" or st == "FAILED" else [o for _, o in rows]
        if t == "FLATTEN" and st == "SUCCEEDED": data = [y for o in data for y in (o if isinstance(o, list) else [o])]
        jl = w.get("OutputType") == "JSONL"; body = ("\n".join(json.dumps(d) for d in data) if jl else json.dumps(data)).encode()
        key = f"{base}/{st}_0.{'jsonl' if jl else 'json'}"; c.put_object(Bucket=bucket, Key=key, Body=body); files[st].append({"Key": key, "Size": len(body)})
    key = base + "/manifest.json"
    c.put_object(Bucket=bucket, Key=key, Body=json.dumps({"DestinationBucket": bucket, "MapRunArn": r.map_run_arn, "ResultFiles": files}).encode())
    return key
def _put(env, part, cred):
    p = env.stack.pop(); env.stack.pop(); r = env.map_run_record_pool_manager.get_all()[-1]
    key = write_results(env, r._rec, r, p["Bucket"], p.get("Prefix", ""), part.region)
    env.stack.append({"MapRunArn": r.map_run_arn, "ResultWriterDetails": {"Bucket": p["Bucket"], "Key": key}})
writer_s3.ResourceEvalS3._handle_put_object = staticmethod(_put)
_deb = DistributedIterationComponent._eval_body
def _dist_body(self, env):
    ms = getattr(TL, "map_state", None)
    try: _deb(self, env)
    except FailureEventException:
        try:
            rec = getattr(env.map_run_record_pool_manager.get_all()[-1], "_rec", None)
            if ms and ms.result_writer and rec: env.stack.append(None); ms.result_writer.eval(env); env.stack.pop()
        except Exception as e: print("result writer after failure:", e, file=sys.stderr)
        raise
DistributedIterationComponent._eval_body = _dist_body

if __name__ == "__main__":
    from moto.server import main
    main(sys.argv[1:])
