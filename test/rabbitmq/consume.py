"""consume.py URL QUEUE: an independent consumer (pika). Prints each message as a line of JSON, then acknowledges it; connects again when the
connection is lost."""
import json
import sys
import time

import pika

url, queue = sys.argv[1:]


def show(channel, method, properties, body):
    print(json.dumps({
        "redelivered": method.redelivered, "exchange": method.exchange, "routingKey": method.routing_key, "body": body.decode("utf-8", "replace"),
        "headers": properties.headers or {}, "contentType": properties.content_type, "messageId": properties.message_id,
        "deliveryMode": properties.delivery_mode, "type": properties.type, "timestamp": properties.timestamp, "appId": properties.app_id,
    }, default=str), flush=True)
    channel.basic_ack(method.delivery_tag)


while True:
    try:
        channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        channel.basic_qos(prefetch_count=50)
        channel.basic_consume(queue, show)
        channel.start_consuming()
    except (pika.exceptions.AMQPError, OSError):
        time.sleep(0.2)
