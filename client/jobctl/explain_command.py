"""`jobctl explain`."""

from jobctl.arguments import Arguments
from jobctl.exit_codes import ExitCode
from jobctl.json_output import dump_document, to_json
from jobctl.place import Place
from jobctl.session import connect
from jobctl.tables import format_table


def explain(arguments: Arguments) -> ExitCode:
    """Say why a job, its entries and its artifacts are as they are; or only those of one step or entry."""
    place = Place.parse(arguments.entry)
    with connect(arguments) as client:
        answer = client.explain(arguments.id, step=place.step, entry=place.entry)
    if arguments.json:
        print(dump_document(to_json(answer)))
        return ExitCode.SUCCEEDED
    rows = [("WHAT", "WHY"), *((item.subject, item.text) for item in answer.explanations)]
    print("\n".join(format_table(rows)))
    return ExitCode.SUCCEEDED
