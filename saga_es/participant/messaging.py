"""What a service behind a queue needs: it takes commands off the queue, and answers each as it would over HTTP.

The barrier stays in the service's own transaction, where its effect is: the key, the effect and what is replied are
committed together, and a command that comes again is answered from there.
"""

from saga_es.queues.listening import Listener
from saga_es.queues.messages import Command, Reply

__all__ = ["Command", "Listener", "Reply"]
