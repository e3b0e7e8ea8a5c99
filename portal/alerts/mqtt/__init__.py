"""What other systems read and write by MQTT: docs/mqtt.md is the contract.

`topics` names and words what is published, `discovery` shows it to Home Assistant, `commands` does what is asked, and
`publisher` keeps the connection to the broker, in a thread of the job worker.
"""
