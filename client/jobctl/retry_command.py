"""`jobctl retry`."""

import uuid

from jobctl.acceptance import check_following, follow_accepted, tell_accepted
from jobctl.arguments import Arguments
from jobctl.errors import JobctlError
from jobctl.exit_codes import ExitCode
from jobctl.session import connect


def retry(arguments: Arguments) -> ExitCode:
    """Go on, as a new job, where one that failed or was cancelled stopped; print the new job's id."""
    check_following(arguments)
    request_id = arguments.request_id or str(uuid.uuid4())
    with connect(arguments) as client:
        try:
            answer = client.retry(arguments.id, request_id=request_id)
        except JobctlError as error:
            if error.code == "DEADLINE_EXCEEDED":
                error.hint = f"it may have been accepted; ask again safely with --request-id {request_id}"
            raise
        tell_accepted(answer.job, arguments, existed=answer.existed)
        return follow_accepted(client, [answer.job.id], arguments)
