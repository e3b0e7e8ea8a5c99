"""Django's settings. What an operator may set is read by portal/server/environment.py and listed in the README."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django_stubs_ext
from csp.constants import NONE, SELF

from portal import demo
from portal.server import environment as env
from portal.server import variables

django_stubs_ext.monkeypatch()  # for ModelAdmin[Site] and the like at run time

os.umask(0o077)  # Faces and keys: only we may read what we write.

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.data_dir(BASE_DIR)
SECRET_KEY = env.secret_key(DATA_DIR)
DEBUG = False

PORT = variables.port()
BIND = variables.read("BIND")
PUBLIC_URL = variables.read("PUBLIC_URL").rstrip("/")
# With HTTPS=1 the portal itself speaks TLS, with a certificate from its own authority (portal/server/certificates.py).
OWN_CERTIFICATE = variables.flag("HTTPS")
CERTIFICATES = DATA_DIR / "certificates"
HTTPS = OWN_CERTIFICATE or PUBLIC_URL.startswith("https://")
# The base of links in e-mails and on paper; never built from a request's Host.
BASE_URL = PUBLIC_URL or env.base_url(BIND, PORT, https=OWN_CERTIFICATE)
REACHABLE = env.reachable(BIND, PORT, PUBLIC_URL, https=OWN_CERTIFICATE)
ALLOWED_HOSTS = env.allowed_hosts(BIND, PUBLIC_URL)
DEMO = variables.flag("DEMO")

INSTALLED_APPS = [
    "portal",
    "cameras",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "axes",
    "csp",
    "ninja",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "portal.people.two_factor.SecondFactorMiddleware",
    "portal.pages.context.PersonalMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "portal.pages.errors.MethodMiddleware",
    "portal.people.audit.PageViewMiddleware",
]

CSRF_FAILURE_VIEW = "portal.pages.errors.csrf_failure"
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "portal" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.pages.context.page_context",
            ],
        },
    },
]

DATABASES = {"default": env.database(DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis (or Valkey): broker, channel layer, leases, previews.
REDIS_URL = env.redis_url(DATA_DIR)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # The layer waits up to 5 s for a message, which is also redis-py's own time-out: it needs a longer one.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 15}], "prefix": "live", "capacity": 1000},
    }
}
CELERY_BROKER_URL = env.celery_broker_url(REDIS_URL)

# A stream worker: its name is its queue, its lease, and its folder in DATA_DIR/spool.
WORKER_NAME = env.worker_name()
WORKER_CAPACITY = variables.worker_capacity()
WORKER_SITES = [int(site) for site in variables.names("WORKER_SITES")]

# A worker at a site, for a portal elsewhere: its address, our key, and who signed its certificate (site_workers/).
PORTAL, KEY, PORTAL_AUTHORITY = env.portal_elsewhere()

# Networks in which cameras may be although those are otherwise refused (loopback, link-local).
CAMERA_NETWORKS = env.networks("CAMERA_NETWORKS")

# Clips and USB cameras of this machine, each with the site that may watch it (cameras/reach/local.py).
LOCAL_CAMERAS = env.local_cameras(demo.CLIPS)

# Retention keeps at least this much of the disk free, oldest violations first.
FREE_DISK_FLOOR_MB = variables.number("FREE_DISK_FLOOR_MB", least=0, most=1e7, unit="megabytes")

AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "portal.people.hashing.BoundedArgon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_RESET_TIMEOUT = 3 * 24 * 3600

# By name and address together: one forgetful person must not lock out a whole office behind one address.
AXES_USERNAME_FORM_FIELD = "username"  # in the sign-in form, whatever the field of the user model is called
AXES_USERNAME_CALLABLE = "portal.pages.sign_in.attempted_name"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "portal.pages.sign_in.too_many_attempts"
AXES_WHITELIST_CALLABLE = "portal.pages.sign_in.is_known_browser"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False

# Who must sign in with a second factor: nobody, managers of a site (and superusers), or everybody.
REQUIRE_TWO_FACTOR = variables.choice("REQUIRE_TWO_FACTOR", ("nobody", "managers", "everybody"))
OTP_TOTP_ISSUER = "Mask portal"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True
# Wrong codes are slowed by browser and account (portal/server/throttling.py). django-otp would slow the account down
# for everybody: whoever knows only the password could keep its owner out.
OTP_TOTP_THROTTLE_FACTOR = 0
OTP_STATIC_THROTTLE_FACTOR = 0

# Who may try the detector in their own browser, at /try/: everybody, people who are signed in, or nobody.
TRY = variables.choice("TRY", ("everybody", "people", "nobody"))

EMAIL_URL = variables.read("EMAIL_URL")
EMAIL_TIMEOUT = 20  # s; Django's own default waits for ever
if EMAIL_URL:
    globals().update(env.email(EMAIL_URL))
DEFAULT_FROM_EMAIL = variables.read("DEFAULT_FROM_EMAIL")

# Where events and figures are published for other systems (docs/mqtt.md); empty: nowhere.
MQTT_URL = env.mqtt(variables.read("MQTT_URL"))
# Push services beside those of the known browsers' makers, by host.
PUSH_SERVICES = frozenset(variables.names("PUSH_SERVICES"))

METRICS_TOKEN = variables.read("METRICS_TOKEN")
BACKUP_DIR, BACKUP_PASSPHRASE, BACKUP_KEEP = env.backups()

LANGUAGE_CODE = "en"
# Each by its own name, so that whoever cannot read this page finds theirs.
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "français"),
    ("es", "español"),
    ("ru", "русский"),
    ("zh-hans", "简体中文"),
    ("ar", "العربية"),
    ("he", "עברית"),
]
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
FORMAT_MODULE_PATH = "portal.formats"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
MEDIA_ROOT = DATA_DIR / "pictures"
STORAGES = {
    "default": env.pictures(MEDIA_ROOT),
    "staticfiles": {"BACKEND": "portal.server.static_files.HashedStaticFiles"},
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "blob:", "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "media-src": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
        "worker-src": [SELF],
    }
}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
# A name on the LAN must stay reachable without TLS if the certificate goes: HSTS only for a public name.
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if PUBLIC_URL.startswith("https://") else 0
# A proxy that terminates TLS before us says so in a header; only those in TRUSTED_PROXIES are believed (uvicorn).
SILENCED_SYSTEM_CHECKS = [
    "security.W004",  # HSTS: see above; a LAN name must not be pinned
    "security.W005",  # HSTS for subdomains: not ours to decide
    "security.W008",  # redirect to HTTPS: our port speaks only TLS, and a proxy redirects by itself
    "security.W021",  # HSTS preloading is for the domain owner to request
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_000_000  # what is larger was refused before, by portal/server/body_limit.py
FILE_UPLOAD_MAX_MEMORY_SIZE = 256_000  # the rest of a body waits on the disk: hundreds may come at once

LOG_FILE = variables.read("LOG_FILE")
LOG_FORMAT = variables.choice("LOG_FORMAT", ("text", "json"))
LOG_LEVEL = variables.choice("LOG_LEVEL", ("INFO", "DEBUG", "WARNING"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(process)d %(threadName)s %(message)s",
            "rename_fields": {"asctime": "at", "levelname": "level", "name": "logger", "threadName": "thread"},
            "datefmt": "%Y-%m-%dT%H:%M:%S%z",
        },
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "level": "WARNING", "stream": sys.stderr},
        **(
            {
                "file": {
                    "class": "logging.handlers.RotatingFileHandler",
                    "filename": LOG_FILE,
                    "maxBytes": 2_000_000,
                    "backupCount": 2,
                    "delay": True,
                    "formatter": LOG_FORMAT,
                }
            }
            if LOG_FILE
            else {}
        ),
    },
    "root": {"handlers": ["file"] if LOG_FILE else ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "CRITICAL"},  # portal/pages/errors.py logs what went wrong, with its number
        "axes": {"level": "ERROR"},
        "httpx": {"level": "WARNING"},  # it names whole addresses, whose paths are often secrets
        # A line per pulse, every five seconds, would push out what matters.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
    },
}
