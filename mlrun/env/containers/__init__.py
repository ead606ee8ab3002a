"""Containers: how mlrun talks to an engine (Docker, or Podman behind its compatible socket).

engine    where the engine is, and what its refusals mean        images    images found and pulled
volumes   what is mounted, as `docker run -v` has it             options   the options of `docker run`
builds    images from a Dockerfile, and with the project inside  provision an image from a venv's lock
attach    a program of its own: it carries one container's streams, signals and exit code
leftovers what runs that were killed have left behind

Only here is the docker SDK imported, and only once a container is wanted: it costs a fifth of a second.
"""
