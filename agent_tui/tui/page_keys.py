"""The keys that pages and panels bind themselves: the source of help and docs/keys.md."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The keys of a page or panel: its title, the names of the classes that bind them, and a row per key.

    A row has one or more keys, in Textual's spelling, and says what they do. Classes are named because they
    are imported only when they are used.
    """

    title: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]


KEY_TABLES: tuple[KeyTable, ...] = (
    KeyTable(
        "Process table",
        ("Processes",),
        (
            (
                "enter",
                "Open the conversation with the job's agent, then type to it; for a process without jobs, "
                "show what it is for.",
            ),
            ("delete", "End its job, like `x`."),
        ),
    ),
    KeyTable("Maximized panel", ("SplitBody",), (("escape", "Show all panels again, like `F10`."),)),
    KeyTable(
        "Talk",
        ("TalkPane", "TalkView"),
        (
            ("up down", "Select the previous or next message, tool call, or waterfall line."),
            ("pageup pagedown", "Scroll one page."),
            ("home end", "Go to the start; go to the newest message and follow."),
            ("space", "Unfold the selected tool call, message, or waterfall, or fold it again."),
            ("enter", "Unfold what is selected, or else type to the agent."),
            ("left right", "Show the previous or next session of the job."),
            ("ctrl+g", "Cut off the agent's reply."),
            ("I", "Show what the LLM will see: instructions, tools, and items."),
            ("slash n N m", "Find text; go to the next or previous match; keep only matches."),
            ("y", "Copy the selected message, or the last one."),
            ("f z Z", "Follow; fold or unfold what is selected, or everything."),
            ("X", "Save the conversation as Markdown or JSON."),
            ("ctrl+o", "Show only what matches the search, or everything again."),
            ("escape", "End the search, then go back."),
        ),
    ),
    KeyTable(
        "Typing to the agent",
        ("TalkInput",),
        (
            ("enter", "Send the turn. It waits until the turns before it have ended."),
            ("up down", "Bring back the previous or next turn that was sent."),
            ("pageup pagedown", "Scroll the conversation."),
            ("escape", "Return to the panel that had the focus before."),
        ),
    ),
    KeyTable("Find in a conversation", ("TalkFind",), (("up down", "Go to the previous or next match."),)),
    KeyTable("Conversation", ("TalkPage",), (("escape q", "Close."),)),
    KeyTable(
        "LLM context", ("ContextPage",), (("r", "Fetch it again."), ("c y", "Copy the context as JSON."))
    ),
    KeyTable(
        "All lists",
        ("Listing", "FilterLine", "Table"),
        (
            ("slash", "Show only the rows that contain the text you type."),
            ("down", "Keep the filter and go to the rows. Enter does the same."),
            ("escape", "Show all rows."),
            ("home end", "Go to the first or last row."),
            ("S", "Sort by the next column. A click on a column header sorts by that column."),
            ("y", "Copy from the selected row: its room, id, pid, reason, or a join link."),
        ),
    ),
    KeyTable(
        "Log lines",
        ("LogView", "LogPane"),
        (
            ("up down", "Select the previous or next line."),
            ("shift+up shift+down", "Extend the selection; `y` copies it."),
            ("pageup pagedown", "Scroll one page."),
            ("home end", "Go to the oldest line; go to the newest and follow."),
            ("enter", "Open the whole record, with its fields."),
            ("shift+left shift+right", "Go to the start of the lines; scroll one page to the right."),
            ("space", "Fold or unfold the record."),
            ("ctrl+o", "Show only the lines that match the search, or all lines again."),
            ("escape", "Close the search, or the prompt for a time."),
        ),
    ),
    KeyTable(
        "Find",
        ("FindInput",),
        (
            ("up down", "Go to the previous or next match."),
            ("ctrl+r", "Treat the text as a regular expression, or as plain text again."),
        ),
    ),
    KeyTable("Log record", ("LogRecord",), (("c", "Copy the text."), ("escape enter q", "Close."))),
    KeyTable(
        "Log filters",
        ("LogFilters",),
        (("backspace delete", "Remove all filters."), ("escape q F", "Close.")),
    ),
    KeyTable("Write the log to a file", ("LogExport",), (("escape", "Close."),)),
    KeyTable(
        "Lists",
        ("LineList", "LivePage"),
        (("enter", "Open the selected row."), ("j k", "Move down or up."), ("escape q", "Close.")),
    ),
    KeyTable(
        "Jobs",
        ("JobsPage", "JobsTable"),
        (
            ("j k", "Move down or up."),
            ("enter", "Open the job."),
            ("h", "Show or hide the jobs of test loads and sweeps."),
        ),
    ),
    KeyTable(
        "Job",
        ("JobPage",),
        (
            ("left right", "Show the previous or next tab."),
            ("j k", "Scroll down or up."),
            ("space", "Show or hide library frames in the traceback."),
            ("e", "Open the failing line in your editor."),
            ("C", "Show the conversation with the job's agent."),
        ),
    ),
    KeyTable("Dispatch", ("DispatchPage",), (("i", "Show the worker."),)),
    KeyTable(
        "Breaches",
        ("BreachesPage",),
        (
            ("a", "Show warnings and limit events."),
            ("w", "Show warnings only."),
            ("l", "Show limit events only."),
            ("S", "Sort by time, by memory, or by process."),
        ),
    ),
    KeyTable(
        "Generations",
        ("GenerationsPage", "LoadList"),
        (
            ("j k", "Move down or up."),
            ("enter tab", "Go to the diff, or back to the list."),
            ("1 2", "Go to the list; go to the diff."),
            ("left_square_bracket right_square_bracket", "Go to the diff, or back to the list."),
            ("pageup pagedown space", "Scroll the diff."),
            ("c", "Compare with the current generation; press again to compare with the previous load."),
            ("b", "Roll back to the selected generation; asks first."),
            ("e", "Open the failing or first changed line in your editor."),
            ("r", "Reload now."),
            ("escape", "Go back to the list, then close."),
            ("q g", "Close."),
        ),
    ),
    KeyTable(
        "Tuning",
        ("TuningPage",),
        (
            ("b w", "Start a load or a sweep."),
            ("plus equals_sign minus", "Change `numIdleProcesses` while a load runs."),
            ("a", "Apply the advice of the last sweep."),
            ("tab", "Switch between the load and the sweep."),
            ("up down", "Select a count of idle processes in a sweep."),
            ("x", "End the running load or sweep; asks first. The measurements so far are kept."),
            ("pageup pagedown j k", "Scroll."),
            ("home end", "Go to the top or the bottom."),
            ("escape T q", "Close; a running load or sweep continues."),
        ),
    ),
    KeyTable(
        "Options",
        ("OptionsPage", "PermissionsControl"),
        (
            ("up down", "Go to the previous or next option."),
            ("pageup pagedown", "Move by a page."),
            ("home end", "Go to the first or last option, unless text is being typed."),
            (
                "left right",
                "Change a choice or a number; in an empty field, → copies the value so that you can edit it.",
            ),
            ("slash", "Search names, flags, variables, and help; in a text field, it types a slash."),
            ("ctrl+o", "Show only what differs from the defaults, or all options again."),
            ("ctrl+s", "Apply the edits, all or none."),
            ("ctrl+z", "Undo the last edit."),
            ("ctrl+w", "Save to the config file; a secret is saved as a reference to its variable."),
            ("ctrl+g", "Save secrets in clear text."),
            ("ctrl+x", "Export as code, `.env`, or flags."),
            ("escape", "End the search, then close; asks first if there are edits."),
        ),
    ),
    KeyTable("Copy", ("Pick",), (("escape q", "Close."),)),
    KeyTable(
        "Command line (`:`)",
        ("CommandInput",),
        (
            ("tab shift+tab", "Complete with the next or previous suggestion."),
            ("up down", "Bring back the previous or next command."),
            ("enter", "Run the command."),
            ("escape", "Close."),
        ),
    ),
    KeyTable("Export", ("ExportPage",), (("c", "Copy the text."), ("escape", "Close."))),
    KeyTable(
        "Forms for test jobs, loads, and sweeps",
        ("FieldForm", "Choice"),
        (
            ("up down", "Go to the previous or next field."),
            ("left right space", "Change a choice."),
            ("enter", "Submit the form."),
            ("escape", "Cancel."),
        ),
    ),
    KeyTable(
        "Pages of text",
        ("TextPage", "LivePage"),
        (("j k", "Scroll down or up."), ("escape q", "Close.")),
    ),
    KeyTable(
        "Pages with tabs: a job, tuning",
        ("TabbedPage",),
        (
            ("1 2 3", "Show the tab with that number."),
            (
                "left_square_bracket right_square_bracket",
                "Show the previous or next tab; so does a click.",
            ),
        ),
    ),
    KeyTable("Every page", ("Page",), (("question_mark", "Show all keys, those of the page first."),)),
    KeyTable(
        "Help",
        ("Help",),
        (
            ("up down k j", "Select the previous or next key."),
            ("left right", "Select the key in the other column."),
            ("pageup pagedown", "Move by a page."),
            ("home end", "Select the first or last key."),
            ("enter", "Run the selected action."),
            ("slash", "Show only the keys whose description contains the text you type."),
            ("escape", "Show all keys again, then close."),
            ("q question_mark", "Close."),
        ),
    ),
    KeyTable("Worker", ("WorkerPage",), (("i", "Close."),)),
    KeyTable(
        "Confirmations",
        ("Confirm", "QuitQuestion"),
        (
            ("y", "Yes."),
            ("n escape", "No."),
            ("left right", "Move between the buttons."),
            ("q", "Yes, when asked whether to quit."),
        ),
    ),
    KeyTable(
        "Remote server",
        ("RemoteGuard",),
        (
            ("y", "Yes, for this run."),
            ("a", "Yes, and remember it in agent-tui.toml."),
            ("n escape", "No."),
            ("left right", "Move between the buttons."),
        ),
    ),
)
