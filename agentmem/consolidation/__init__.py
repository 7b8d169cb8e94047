"""Consolidation: what was remembered, distilled into LoRA weights, judged, served beside the text, and forgettable.

    selection    which thoughts are worth learning, and why others are not
    writing      who words a thought as questions and answers: templates, the closed world
    modelwriter  the served model as such a one
    everyday     questions and calls that have nothing to do with a memory; calls: what counts as one
    curriculum   examples to train on and items to be judged by, on disk with a digest
    replay       how often an earlier thought is rehearsed
    encoding     conversations as token ids
    training     the adapter's weights, from the frozen base; strategies: other ways to go on
    unlearning   what was learned taken out again, approximately: to be measured, not served
    probing      what a model with an adapter knows; gates: whether that is good enough, by bounds
    adapters     folders of weights; hotload: into the running server and out again
    cycle        all of it, in this order; each stage may be killed; schedule: when one is due
    service      which model name a request goes to

Torch, transformers and peft are imported by the processes that train and judge, and nowhere else.
"""
