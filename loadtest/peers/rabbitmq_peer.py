"""RabbitMQ: durable queue, persistent messages, 100 confirms in flight; prefetch 100, each acknowledged."""

import asyncio
import sys
import time

import aio_pika
import pika
import uvloop
from tally import ARGUMENT, Tally, cpu, tell

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
QUEUE = "jobs"


async def enqueue() -> None:
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    await channel.declare_queue(QUEUE, durable=True)
    message = aio_pika.Message(ARGUMENT.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    began, used = time.perf_counter(), cpu()
    for _ in range(jobs // 100):
        await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for _ in range(100)))
    tell(jobs, time.perf_counter() - began, cpu() - used)
    await connection.close()


def work() -> None:
    tally = Tally()
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=100)

    def job(_channel, method, _properties, _body):  # type: ignore[no-untyped-def]
        channel.basic_ack(method.delivery_tag)
        tally.tick(ARGUMENT)

    channel.basic_consume(QUEUE, job)
    channel.start_consuming()


if mode == "enqueue":
    uvloop.run(enqueue())
else:
    work()
