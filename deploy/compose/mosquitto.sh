#!/bin/sh
# The broker, with one user, "portal", whose password is MQTT_PASSWORD.
set -eu
umask 077
mosquitto_passwd -b -c "${PASSWORDS:-/tmp/passwords}" portal "$MQTT_PASSWORD"
exec mosquitto -c "${CONFIG:-/compose/mosquitto.conf}"
