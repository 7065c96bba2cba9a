"""The HTTP server layer: gunicorn's threaded worker, with an event loop that never waits.

The loop receives each request into bounded memory, has gunicorn's parser judge its head, and gives
a request to a thread only when all of it is there. The thread runs the application and writes what
the socket takes; the loop sends the rest of the response, closes connections and cuts off clients
that are too slow. So a slow client costs memory within a limit, and never a thread.

worker.py has the loop, connection.py one client's connection, buffers.py its input and output,
chunks.py the end of a chunked body, refusals.py the answers of the server itself, and log.py keeps
what clients sent out of the log.
"""
