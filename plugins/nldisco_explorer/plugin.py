"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

import click

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_views() -> Iterator[Provider]:
    """The first-party tiles, in the order in which they stand on their pages."""
    for name, target, summary in (
        ("latent-card", "card:LatentCard", "What is claimed of a latent, and the evidence beside it."),
        ("polar-tuning", "tuning:PolarTuning", "Mean activation by direction, with a ring of occupancy."),
        ("rate-map", "tuning:RateMap", "Mean activation over a position."),
        ("tuning-curve", "tuning:TuningCurve", "Mean activation against a linear variable, with occupancy."),
        (
            "contributing-units",
            "activity:ContributingUnits",
            "Weights of a latent to units by region, and their mean z.",
        ),
        (
            "latent-and-units",
            "neurons:LatentAndUnits",
            "A latent, its top and bottom unit and its selectivity over a variable.",
        ),
        ("activation-trace", "activity:ActivationTrace", "Activation and behaviour on one time axis."),
        ("condition-bars", "tuning:ConditionBars", "Mean activation for each label of a discrete variable."),
        ("activation-histogram", "activity:ActivationHistogram", "How strong the activations of a latent are."),
        ("aligned-trials", "trials:AlignedTrials", "Trials around events, sorted by a condition, and their means."),
        ("session-timeline", "session:SessionTimeline", "Activation, behaviour and population of a session in time."),
        ("latent-map", "latent_map:MapOfLatents", "Latents beside each other, coloured by a score."),
        ("matches", "compare:Matches", "Latents matched with a control's, another instance's or another run's."),
        ("example-moments", "moments:ExampleMoments", "What was going on when a latent was active."),
        ("nearest-latents", "related:NearestLatents", "Nearest latents by decoder weights and by co-activation."),
        ("family", "related:Family", "Parents and children of a latent of a nested model."),
        ("state-space", "state_space:StateSpace", "Trajectories and flow field of a dense or signed code."),
        ("gallery", "gallery:Gallery", "Curves or maps of many latents at once."),
        ("latent-notes", "notes:LatentNotes", "Name, stars and comments that people give a latent."),
        ("verdict", "verdict:Verdict", "What a run shows, and what it does not."),
        ("quality", "overview:Quality", "Reconstruction of held-out bins, model beside controls."),
        ("model-card", "overview:ModelCard", "Which model, how configured, by whom provided."),
        ("data-card", "overview:DataCard", "Session, units, bins, preprocessing and splits."),
        ("recorded-time", "recorded_time:RecordedTime", "Length, gaps and splits of each session."),
        ("unit-rates", "recording:UnitRates", "Units by region, and how much they fire."),
        ("count-histogram", "recording:CountHistogram", "Spikes per bin, and shares of non-zero bins."),
        ("activity-examples", "recording:ActivityExamples", "Activity of all units over some seconds."),
        ("trial-conditions", "recorded_behaviour:Trials", "Trials: durations, events and conditions."),
        ("behaviour-ranges", "recorded_behaviour:Behaviour", "Kind, unit, range and distribution of variables."),
        ("recording-warnings", "recorded_time:RecordingWarnings", "Gaps, and what was found odd."),
        ("density-histogram", "overview:DensityHistogram", "How often latents are active; dead and dense ones."),
        ("training-curves", "overview:TrainingCurves", "What the model reported while it was fitted."),
        ("comparison", "overview:Comparison", "Decoding, tuning, copies and seeds, model beside controls."),
        ("decoding-by-number", "decoding:DecodingByNumber", "Decoding from few and from all latents, beside controls."),
        ("decoding-of-latents", "decoding:DecodingOfLatents", "Position against direction, latent by latent."),
    ):
        yield Provider(name=name, target=f"nldisco_explorer.views.{target}", summary=summary)


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco serve`` and ``nldisco share``."""
    from nldisco_explorer.commands import serve, share

    cli.add_command(serve)
    cli.add_command(share)
