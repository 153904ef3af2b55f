"""One member of a consumer group that writes down what it saw.

Usage: group_member.py BOOTSTRAP TOPIC GROUP FILE IDLE_SECONDS

FILE gets a line `R partition offset key value` for each record before it is committed, and `C partition offset`
after each commit. The member ends when nothing came for IDLE_SECONDS.
"""

import sys
import time

from confluent_kafka import Consumer, KafkaException

COMMIT_EVERY = 5000


def main() -> None:
    bootstrap, topic, group, path, idle = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1000,
        }
    )
    with open(path, "w", buffering=1 << 20) as out:

        def commit() -> None:
            out.flush()
            try:
                offsets = consumer.commit(asynchronous=False)
            except KafkaException as error:
                if error.args[0].name() == "_NO_OFFSET":
                    return
                raise
            for each in offsets or []:
                if each.offset >= 0:
                    out.write(f"C {each.partition} {each.offset}\n")
            out.flush()

        def on_revoke(_consumer, _partitions) -> None:
            commit()

        consumer.subscribe([topic], on_revoke=on_revoke)
        last = time.monotonic()
        since_commit = 0
        while time.monotonic() - last < float(idle):
            for message in consumer.consume(num_messages=500, timeout=0.5):
                if message.error():
                    raise KafkaException(message.error())
                key = message.key().decode()
                value = message.value().decode()
                out.write(f"R {message.partition()} {message.offset()} {key} {value}\n")
                last = time.monotonic()
                since_commit += 1
            out.flush()
            if since_commit >= COMMIT_EVERY:
                commit()
                since_commit = 0
        commit()
        consumer.close()


main()
