import tomllib
from dataclasses import FrozenInstanceError

import pytest

from mrspec_prep.options import (
    GroupOptions,
    InspectMapOptions,
    InspectOptions,
    KernelOptions,
    MapsOptions,
    MaskOptions,
    NNLSOptions,
    NoiseOptions,
    Options,
    OptionsError,
    SelectOptions,
    UncertaintyOptions,
    load_options,
)

FULL = Options(
    description='Placenta, "ZEBRA" \\ µm²/ms \U0001f9e0 \x7f \t',
    select=SelectOptions(datatype="dwi", suffix="dwi"),
    mask=MaskOptions(source="masks/sub-{subject}_mask.nii.gz"),
    noise=NoiseOptions(method=12.5),
    kernel=KernelOptions(name="adc-t2star", points=(30, 40), diffusivity=(0.1, 300.0), t2star=(5.0, 500.0)),
    nnls=NNLSOptions(alpha=1e-4, regions={"core": {"t2star": (80.0, 200.0), "diffusivity": (0.1, 5.0)}}),
    inspect=InspectOptions(n_clusters=4, mode="paper", scale="fixed", criterion="aic"),
    inspect_map=InspectMapOptions(n_components=3, scale="fixed", n_starts=2),
    uncertainty=UncertaintyOptions(bootstrap=50, bounds=True, simultaneous=False, level=0.9),
    maps=MapsOptions(model="ball-stick", methods=("lsq-gmm",), distribution="gaussian", intervals=False),
    group=GroupOptions(n_clusters=8, criterion="aic", site_gains=False, n_components=3, compare="diagnosis"),
)


@pytest.mark.parametrize("options", [Options(), FULL], ids=["defaults", "full"])
def test_toml_round_trip(options, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(options.to_toml(), encoding="utf-8")
    again = load_options(path)
    assert again == options
    assert again.hash() == options.hash()
    assert Options.from_dict(options.to_dict()) == options


def test_hash_changes_with_any_setting_and_only_then():
    hashes = {
        Options().hash(),
        FULL.hash(),
        Options(nnls=NNLSOptions(alpha=0.02)).hash(),
        Options(inspect=InspectOptions(max_steps=501)).hash(),
        Options(nnls=NNLSOptions(regions={"core": {"t2": (1.0, 2.0)}})).hash(),
        Options(description="x").hash(),
    }
    assert len(hashes) == 6
    assert Options().hash() == Options().hash()
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in hashes)


def test_settings_of_the_group_leave_participants_as_they_are():
    other = Options(group=GroupOptions(n_clusters=3))
    assert other.hash() == Options().hash()
    assert other.group_hash() != Options().group_hash()
    assert Options(nnls=NNLSOptions(alpha=1.0)).group_hash() == Options().group_hash()
    assert Options(kernel=KernelOptions(name="adc")).group_hash() != Options().group_hash()
    assert Options(group=GroupOptions(checkpoint_steps=3)).group_hash() == Options().group_hash()


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        FULL.nnls.alpha = 1.0


def test_candidates():
    assert InspectOptions(n_clusters=(2, 4)).candidates == (2, 3, 4)
    assert InspectOptions(n_clusters=7).candidates == (7,)


def test_bounds_are_those_given_by_hand():
    assert KernelOptions().bounds == {}
    assert FULL.kernel.bounds == {"diffusivity": (0.1, 300.0), "t2star": (5.0, 500.0)}


@pytest.mark.parametrize("method", ["auto", "b0-repeats", "residual", "mppca", "sigma/sub-{subject}.nii.gz"])
def test_noise_methods(method):
    assert NoiseOptions(method=method).method == method


@pytest.mark.parametrize("method", [20, 20.0, "20"])
def test_noise_number(method):
    assert NoiseOptions(method=method).method == 20.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nnsl]\nalpha = 1", r"unknown section \[nnsl\]; did you mean nnls\?"),
        ("[nnls]\nalhpa = 1", r"unknown key nnls.alhpa; did you mean alpha\?"),
        ("[inspect]\nzzz = 1", "unknown key inspect.zzz; known: alpha, criterion"),
        ("nnls = 3", r"\[nnls\] must be a section"),
        ("[nnls]\nalpha = -1", "nnls.alpha must be >= 0, got -1"),
        ("[nnls]\nalpha = nan", "nnls.alpha must be a finite number"),
        ("[nnls]\nalpha = inf", "nnls.alpha must be a finite number"),
        ("[nnls]\nalpha = true", "nnls.alpha must be a finite number"),
        ('[nnls]\nalpha = "1"', "nnls.alpha must be a finite number"),
        ('[nnls]\nalpha_rule = "best"', "nnls.alpha_rule must be one of fixed, gcv, lcurve, chi2, discrepancy, brd"),
        ('[nnls]\nalpha_scope = "slice"', "nnls.alpha_scope must be one of voxel, image"),
        ('[nnls]\nalpha_rule = "chi2"\n[noise]\ndistribution = "rician"', "nnls.alpha_rule = chi2 reads residuals"),
        ("[nnls]\ntolerance = 0.0", "nnls.tolerance must be > 0"),
        ("[nnls]\nregions = 3", "nnls.regions"),
        ("[nnls]\nregions = {core = 3}", "nnls.regions.core"),
        ("[nnls]\nregions = {core = {t3 = [1, 2]}}", "nnls.regions.core.axis must be one of .*, got 't3'"),
        ("[nnls]\nregions = {core = {t2 = [2, 1]}}", r"nnls.regions.core.t2 must be two bounds \[low, high\]"),
        ("[nnls]\nregions = {core = {t2 = 2}}", r"nnls.regions.core.t2 must be two bounds \[low, high\]"),
        ("[nnls.regions.not_bids]\nt2 = [1, 2]", "letters, digits and \\+ only"),
        ("[inspect_map]\nn_components = -1", "inspect_map.n_components must be a whole number >= 0"),
        ("[inspect_map]\nn_components = 17", "inspect_map.n_components must be <= 16"),
        ("[inspect_map]\nn_clusters = 3", "unknown key inspect_map.n_clusters"),
        ('[inspect_map]\nscale = "free"', "inspect_map.scale must be one of profiled, fixed"),
        ("[uncertainty]\nbootstrap = 5", "uncertainty.bootstrap must be 0 .off. or >= 20, got 5"),
        ("[uncertainty]\nbootstrap = true", "uncertainty.bootstrap must be a whole number"),
        ("[uncertainty]\nbounds = 1", "uncertainty.bounds must be true or false, got 1"),
        ("[uncertainty]\nlevel = 1.0", "uncertainty.level must be < 1"),
        ('[uncertainty]\nresampling = "jackknife"', "uncertainty.resampling must be one of auto, residual, parametric"),
        ('[kernel]\nspacing = "cubic"', "kernel.spacing must be one of log, linear"),
        ("[kernel]\npoints = [50, 1]", "kernel.points must be a whole number >= 2"),
        ("[kernel]\npoints = 50", "kernel.points must be a list"),
        ("[kernel]\nt2 = [500, 5]", "kernel.t2 must be two bounds"),
        ("[kernel]\nt2 = [5]", "kernel.t2 must be two bounds"),
        ("[kernel]\nt2 = 5", "kernel.t2 must be two bounds"),
        ('[kernel]\nt2 = ["a", "b"]', "kernel.t2 must be two bounds"),
        ('[noise]\nmethod = "b0repeats"', "noise.method must be one of auto, b0-repeats"),
        ("[noise]\nmethod = 0", "noise.method must be > 0"),
        ('[noise]\nmethod = "inf"', "noise.method must be a finite number"),
        ("[noise]\nmethod = [1, 2]", "noise.method must be a finite number"),
        ('[mask]\nsource = ""', "mask.source must be"),
        ('[mask]\nsource = "automatc"', "did you mean automatic"),
        ('[select]\ndatatype = "func"', "select.datatype must be one of auto, dwi, anat, got 'func'"),
        ("[inspect]\nn_clusters = 0", "inspect.n_clusters must be a whole number >= 1"),
        ("[inspect]\nn_clusters = [10, 2]", "inspect.n_clusters must be a number or"),
        ("[inspect]\nn_clusters = [2, 3, 4]", "inspect.n_clusters must be a number or"),
        ("[inspect]\nn_clusters = 2.5", "inspect.n_clusters must be a whole number"),
        ("[inspect]\nn_clusters = true", "inspect.n_clusters must be a whole number"),
        ('[inspect]\nn_clusters = ["a", "b"]', "inspect.n_clusters must be a whole number"),
        ("[group]\nn_cluster = 4", "unknown key group.n_cluster; did you mean n_clusters"),
        ("[group]\nn_clusters = [10, 2]", "group.n_clusters must be a number or"),
        ('[group]\ncriterion = "held-out"', "group.criterion must be one of bic, aic"),
        ('[group]\nproportions = "own"', "group.proportions must be one of member, shared"),
        ("[group]\nsite_gains = 1", "group.site_gains must be true or false, got 1"),
        ("[group]\ncheckpoint_steps = 0", "group.checkpoint_steps must be a whole number >= 1"),
        ("[group]\ncompare = 3", "group.compare must be text, got 3"),
        ("[group]\nn_components = 17", "group.n_components must be <= 16"),
        ('[group]\nfrozen = "a.h5"\nn_components = 2', "group.frozen keeps the spectra of a.h5"),
        ("[nnls", "is not a TOML file"),
    ],
)
def test_wrong_files_are_refused_by_file_key_and_value(tmp_path, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionsError, match=message) as raised:
        load_options(path)
    assert str(path) in str(raised.value)


@pytest.fixture
def empty(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("", encoding="utf-8")
    return path


def test_an_empty_file_is_the_defaults(empty):
    assert load_options(empty) == Options()


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("inspect.n_clusters=4", "inspect", "n_clusters", 4),
        ("inspect.n_clusters=[2, 5]", "inspect", "n_clusters", (2, 5)),
        ("nnls.alpha = 1e-3", "nnls", "alpha", 1e-3),
        ("noise.method=residual", "noise", "method", "residual"),
        ('noise.method="residual"', "noise", "method", "residual"),
        ("noise.method=12", "noise", "method", 12.0),
        ("mask.source=m/sub-{subject}=x.nii.gz", "mask", "source", "m/sub-{subject}=x.nii.gz"),
        ("nnls.regions.core.t2=[1.0, 2.0]", "nnls", "regions", {"core": {"t2": (1.0, 2.0)}}),
    ],
)
def test_override(empty, override, section, key, value):
    assert getattr(getattr(load_options(empty, [override]), section), key) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inspect.n_cluster=4", "did you mean n_clusters"),
        ("inspect.n_clusters", "needs section.key=value"),
        ("n_clusters=4", "needs section.key=value"),
        ("inspect..n_clusters=4", "needs section.key=value"),
        ("nnls.alpha.x=4", "nnls.alpha"),
        ("nnls.alpha=lots", "must be a finite number, got 'lots'"),
    ],
)
def test_wrong_override_is_refused_by_its_own_words(empty, override, message):
    with pytest.raises(OptionsError, match=message) as raised:
        load_options(empty, [override])
    assert override in str(raised.value)


def test_last_override_wins(empty):
    assert load_options(empty, ["nnls.alpha=1", "nnls.alpha=2"]).nnls.alpha == 2


def test_defaults_in_toml_are_plain_toml():
    assert tomllib.loads(Options().to_toml())["nnls"]["alpha"] == 0.01


def test_overrides_that_need_one_another_come_in_any_order():
    pair = ["noise.n_coils=4", "noise.distribution=nc-chi"]
    assert load_options(None, pair) == load_options(None, pair[::-1])
    with pytest.raises(OptionsError, match="--set noise.n_coils=4: .*needs noise.distribution"):
        load_options(None, pair[:1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["maps.methods=lsq"], "must list methods"),
        (["maps.methods=[]"], "must list methods"),
        (['maps.methods=["lsq", "lsq"]'], "each once"),
        (["maps.distribution=normal"], "one of auto, gaussian, rician"),
        (["maps.settings=theirs"], "one of ours, paper"),
        (["maps.intervals=1"], "true or false"),
        (["maps.modell=adc"], "did you mean model"),
        (["select.split=echo"], "one of none, echo-time"),
        (["nnls.wanted=0"], "true or false"),
        (["nnls.wanted=false", "inspect.wanted=false"], "nothing would be computed"),
        (["nnls.wanted=false", "uncertainty.bounds=true"], "nnls.wanted is false"),
        (["maps.model=adc", "noise.distribution=nc-chi"], "set maps.distribution"),
    ],
)
def test_settings_of_maps_are_checked(overrides, message):
    with pytest.raises(OptionsError, match=message):
        load_options(None, overrides)


def test_spectra_may_be_left_out_where_maps_or_components_are_wanted():
    without = ["nnls.wanted=false", "inspect.wanted=false"]
    assert not load_options(None, [*without, "maps.model=adc"]).wants_spectra
    assert load_options(None, [*without, "inspect_map.n_components=3"]).wants_spectra
    assert load_options(None, ["maps.model=adc"]).maps.wanted and not Options().maps.wanted
