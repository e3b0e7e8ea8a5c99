"""Who watches what?

`leases` gives each camera to one worker, `worker` is what lives in that worker's process, `watch` is one camera's loop;
what it finds goes to `spool`, what it sees to `preview`, and a time without pictures to `outages`.
"""
