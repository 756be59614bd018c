"""Writes events.bin with TensorBoard's own writer (tensorboard 2.21.0), at fixed times."""
import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

with open(sys.argv[1], "wb") as f:
    writer = RecordWriter(f)
    writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
    summary = Summary(value=[Summary.Value(tag="a", simple_value=0.5)])
    writer.write(Event(wall_time=2.0, step=7, summary=summary).SerializeToString())
    writer.flush()
