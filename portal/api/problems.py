"""Errors of the API, as problem+json (RFC 9457): a status, a title, and a sentence that says what to do."""

from __future__ import annotations

import json
import logging
import secrets
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

log = logging.getLogger(__name__)


class ProblemBody(Schema):
    """An error of this API."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(Exception):
    """Ends a request with this status and sentence; `retry_after_s` says when trying again makes sense."""

    def __init__(self, status: int, detail: str, retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


def answer(status: int, detail: str, retry_after_s: int = 0) -> HttpResponse:
    body = ProblemBody(title=HTTPStatus(status).phrase, status=status, detail=detail)
    response = HttpResponse(json.dumps(body.dict()), status=status, content_type="application/problem+json")
    if retry_after_s:
        response["Retry-After"] = str(retry_after_s)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def use(api: NinjaAPI) -> None:
    """Make this API report all of its errors this way."""

    def problem(request: HttpRequest, error: Problem) -> HttpResponse:
        return answer(error.status, str(error), error.retry_after_s)

    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        return answer(422, "; ".join(_where_and_what(each) for each in error.errors))

    def nobody(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return answer(401, _("Send a token: “Authorization: Bearer …”. This one is missing, or wrong, or was revoked."))

    def missing(request: HttpRequest, error: Http404) -> HttpResponse:
        return answer(404, _("There is nothing at this address."))

    def other(request: HttpRequest, error: HttpError) -> HttpResponse:
        return answer(error.status_code, str(error))

    def fault(request: HttpRequest, error: Exception) -> HttpResponse:
        number = secrets.token_hex(4)
        log.error("error %s at %s", number, request.path, exc_info=error)
        return answer(500, _("Something went wrong on our side. Its number is %(number)s.") % {"number": number})

    handlers: dict[Any, Any] = {
        Problem: problem,
        ValidationError: invalid,
        AuthenticationError: nobody,
        Http404: missing,
        HttpError: other,
        Exception: fault,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _where_and_what(error: dict[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in error['loc'][1:])}: {error['msg']}"
