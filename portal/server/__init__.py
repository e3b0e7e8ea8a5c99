"""How does it run?

`run` starts and ends every process, `leash` keeps them from outliving it; `environment` reads what the operator set.
The rest supports the pages: certificates, static files, the database's connections, limits, health.
"""
