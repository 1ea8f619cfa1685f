using System.Text.Json;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

public sealed class LearningRateScheduleTests
{
    [SharedTheory]
    [InlineData("linear")]
    [InlineData("cosine")]
    [InlineData("cosine_with_restarts")]
    [InlineData("polynomial")]
    [InlineData("constant")]
    [InlineData("constant_with_warmup")]
    [InlineData("inverse_sqrt")]
    public void MatchesTransformers(string name)
    {
        JsonElement root = JsonDocument.Parse(File.ReadAllText(TestData.SharedPath("reference", "schedulers.json"))).RootElement;
        LearningRateSchedule schedule = new(LearningRateSchedule.Parse(name), root.GetProperty("lr").GetDouble(), root.GetProperty("warmup").GetInt32(), root.GetProperty("total").GetInt32());
        int step = 0;
        foreach (JsonElement expected in root.GetProperty("values").GetProperty(name).EnumerateArray())
            Assert.Equal(expected.GetDouble(), schedule.At(step++), 1e-9);
        Assert.Equal(100, step);
    }

    // Values of transformers.get_scheduler for learning rate 1, 10 warm-up steps, 100 steps.
    [Theory]
    [InlineData(ScheduleKind.Linear, 0, 0.0)]
    [InlineData(ScheduleKind.Linear, 5, 0.5)]
    [InlineData(ScheduleKind.Linear, 55, 0.5)]
    [InlineData(ScheduleKind.Cosine, 55, 0.5)]
    [InlineData(ScheduleKind.Cosine, 40, 0.75)]
    [InlineData(ScheduleKind.InverseSqrt, 40, 0.5)]
    [InlineData(ScheduleKind.ConstantWithWarmup, 99, 1.0)]
    [InlineData(ScheduleKind.Constant, 0, 1.0)]
    public void KnownValues(ScheduleKind kind, int step, double expected) => Assert.Equal(expected, new LearningRateSchedule(kind, 1, 10, 100).At(step), 1e-12);

    [Fact]
    public void UnknownNameIsAUserError() => Assert.Contains("cosine", Assert.Throws<LoraNetException>(() => LearningRateSchedule.Parse("cosin")).Message, StringComparison.Ordinal);
}
