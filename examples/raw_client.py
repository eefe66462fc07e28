"""A client made from the wire contract alone: grpcio and protobuf, nothing of Gradloom.

The service describes itself through server reflection, so nothing is compiled either. With
`gradloom serve` running: python examples/raw_client.py [HOST:PORT]
"""
# ruff: noqa: T201 (what it prints is for people)

import sys
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

# digits.yaml, shorter, in protobuf's JSON mapping: enums have their long names there.
SPEC = {
    "name": "digits-raw",
    "seed": 7,
    "data": {
        "path": "examples/digits.npz",
        "inputs": ["images"],
        "target": "labels",
        "validation_fraction": 0.2,
        "normalize": "NORMALIZE_UNIT",
    },
    "model": {"layers": [{"dense": {"units": 64}}, {"relu": {}}, {"dense": {"units": 10}}]},
    "loss": {"softmax_cross_entropy": {}},
    "optimizer": {"adam": {"learning_rate": 0.003}},
    "training": {"batch_size": 64, "epochs": 10},
    "resources": {"workers": 2},
}

# A message as JSON would have it.
Document = dict[str, Any]


class JobService:
    """gradloom.v1.JobService as it describes itself; requests and responses are documents."""

    def __init__(self, channel: grpc.Channel) -> None:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self._channel = channel
        self._service = pool.FindServiceByName("gradloom.v1.JobService")

    def call(self, method: str, request: Document) -> Document:
        """One request, one response."""
        return MessageToDict(
            self._bound(method, self._channel.unary_unary)(self._read(method, request))
        )

    def stream(self, method: str, request: Document) -> Iterator[Document]:
        """One request, many responses."""
        responses = self._bound(method, self._channel.unary_stream)(self._read(method, request))
        yield from map(MessageToDict, responses)

    def _bound(self, method: str, kind: Any) -> Any:
        response = GetMessageClass(self._service.methods_by_name[method].output_type)
        return kind(
            f"/{self._service.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _read(self, method: str, request: Document) -> Any:
        return ParseDict(
            request, GetMessageClass(self._service.methods_by_name[method].input_type)()
        )


def main() -> None:
    """Submits the job, follows it to its end and prints the hash of its weights."""
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"
    with grpc.insecure_channel(address) as channel:
        service = JobService(channel)
        name = service.call("CreateJob", {"job": {"spec": SPEC}})["job"]["name"]
        for event in service.stream("WatchJob", {"name": name}):
            if "job" in event:
                print(name, event["job"]["state"])
            elif "progress" in event:
                print("step", event["progress"]["step"], "loss", event["progress"]["loss"])
        print(service.call("GetJob", {"name": name})["job"]["receipt"]["weightsSha256"])


if __name__ == "__main__":
    main()
