"""The gRPC server: our service, health and reflection behind the interceptors."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from gradloom.service.api.channel import SERVER_OPTIONS
from gradloom.service.api.jobs import SERVICE_NAME, JobService
from gradloom.v1 import jobs_pb2, jobs_pb2_grpc

# METHODS names every call of ours, as the metrics do.
METHODS = tuple(
    f"{SERVICE_NAME}/{method.name}"
    for method in jobs_pb2.DESCRIPTOR.services_by_name["JobService"].methods
)


def build_server(
    service: JobService, interceptors: Sequence[grpc.aio.ServerInterceptor]
) -> tuple[grpc.aio.Server, health.HealthServicer]:
    """A server without a port yet, not started, and what says whether it is well.

    The first interceptor is the outermost.
    """
    server = grpc.aio.server(interceptors=list(interceptors), options=SERVER_OPTIONS)
    jobs_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    wellness = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(wellness, server)
    reflection.enable_server_reflection(
        (SERVICE_NAME, HEALTH_NAME, reflection.SERVICE_NAME), server
    )
    return server, wellness


async def open_for_calls(wellness: health.HealthServicer) -> None:
    """Says that the service as a whole and JobService are well."""
    for name in ("", SERVICE_NAME):
        await wellness.set(name, health_pb2.HealthCheckResponse.SERVING)
